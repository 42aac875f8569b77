"""What a function reads is told from its source; a kept score never outlives what it hangs on."""

from __future__ import annotations

import ast
import itertools
import textwrap
from functools import wraps

import pytest

import rmaudit as rma
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.functions.reading import keywords_read, rows_read

KNOWN = {
    "[i.row['a'] for i in items]": (("a",), ()),
    "[i.row.get('a', 0) + len(i.response) for i in items]": ((), ("a",)),
    "[1.0 if 'a' in i.row else 0.0 for i in items]": ((), ("a",)),
    "[i.row['b'] if i.row['a'] else 0 for i in items]": ((), ("a", "b")),
    "[k + float(i.row['a']) for k, i in enumerate(items)]": (("a",), ()),
    "[x * i.row.pop('a') for x, i in zip([1] * len(items), items)]": (("a",), ()),
    "[len(i.prompt) for i in items]": ((), ()),
}
UNKNOWN = (
    "[help(i) for i in items]",
    "[sum(i.row.values()) for i in items]",
    "[i.row[k] for i in items for k in ('a', 'b')]",
    "score(items)",
    "[items[0].row['a'] for i in items]",
    "[getattr(i, 'row')['a'] for i in items]",
    "[eval('i.row')['a'] for i in items]",
    "[f(i.row) for i in items]",
    "[i.row['a'] for i in sorted(items)]",
    "[j.row['a'] for i in items for j in [i]]",
)


@pytest.fixture
def written(tmp_path):
    """A function of items whose source is in a file, as `inspect` wants it."""
    count = itertools.count()

    def write(body):
        path = tmp_path / f"written_{next(count)}.py"
        path.write_text(f"def reward(items):\n{textwrap.indent(body, '    ')}\n")
        space = {}
        exec(compile(path.read_text(), str(path), "exec"), space)
        return space["reward"]

    return write


@pytest.mark.parametrize("expression", KNOWN)
def test_the_columns_of_a_row_are_told_from_the_source(written, expression):
    assert rows_read(written(f"return {expression}"), "items") == KNOWN[expression]


def test_a_row_may_get_a_name(written):
    body = """
    rewards = []
    for item in items:
        row = item.row
        rewards.append(float(row["a"] in item.response) + row.get("b", 0))
    return rewards"""
    assert rows_read(written(textwrap.dedent(body)), "items") == (("a",), ("b",))
    assert rows_read(written(textwrap.dedent(body + " + list(row)")), "items") is None


@pytest.mark.parametrize("expression", UNKNOWN)
def test_a_use_that_is_not_explained_means_any_column(written, expression):
    ast.parse(expression)
    assert rows_read(written(f"return {expression}"), "items") is None


def test_a_wrapper_sees_the_columns_first():
    def inner(completions, **columns):
        return [float(a in c) for a, c in zip(columns["a"], completions, strict=True)]

    @wraps(inner)
    def outer(completions, **columns):
        return [v * w for v, w in zip(inner(completions, **columns), columns["w"], strict=True)]

    assert keywords_read(inner, "columns") == (("a",), ())
    assert keywords_read(outer, "columns") is None
    rows = [{"prompt": "q", "chosen": "x", "rejected": "y", "a": "x", "w": 5.0, "id": "1"}]
    assert rma.score(outer, rows, cache=False).reward.tolist() == [5.0, 0.0]


ROWS = [
    {"id": str(k), "prompt": f"q{k}", "chosen": f"it is {k}", "rejected": "no", "key": str(k)}
    for k in range(4)
]
CALLS = "open('calls', 'a').write('x' * len(items))"


def rewards(model, rows, folder):
    """Rewards in the order of the data, and how many texts the function was asked for."""
    calls = folder / "calls"
    calls.write_text("")
    found = rma.score(model, rows, store=folder / "store.sqlite").reward.tolist()
    return found, len(calls.read_text())


def test_a_kept_score_does_not_outlive_what_it_hangs_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stale_pack").mkdir()
    (tmp_path / "stale_pack" / "__init__.py").write_text("")
    factor = tmp_path / "stale_pack" / "factor.py"
    factor.write_text("FACTOR = 1.0\n")
    (tmp_path / "stale_rules.py").write_text(
        "from stale_pack import factor\n"
        "def score(text, key):\n    return factor.FACTOR * (key in text)\n"
    )
    (tmp_path / "stale_reward.py").write_text(
        f"def reward(items):\n    {CALLS}\n    from stale_rules import score\n"
        "    return [score(i.response, i.row['key']) for i in items]\n"
    )
    model = "python:stale_reward:reward"
    assert rewards(model, ROWS, tmp_path) == ([1.0] * 4 + [0.0] * 4, 8)
    # A column that it does not read costs nothing, one that it reads costs that row.
    noted = [{**row, "note": f"seen {row['id']}"} for row in ROWS]
    assert rewards(model, noted, tmp_path) == ([1.0] * 4 + [0.0] * 4, 0)
    other = [{**noted[0], "key": "no"}, *noted[1:]]
    assert rewards(model, other, tmp_path) == ([0.0, *[1.0] * 3, 1.0, *[0.0] * 3], 2)
    # A module that is imported by a module that the function imports when it is called.
    # Of another size: Python keeps bytecode of a file that is as large and of the same second.
    factor.write_text("FACTOR = 1.0 + 2.0\n")
    assert rewards(model, ROWS, tmp_path) == ([3.0] * 4 + [0.0] * 4, 8)


def test_a_function_that_hands_its_items_on_is_scored_again_for_any_column(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "handing_on.py").write_text(
        "def one(item):\n    return float(item.row.get('note', '') in item.response)\n"
        f"def reward(items):\n    {CALLS}\n    return [one(item) for item in items]\n"
    )
    model = "python:handing_on:reward"
    assert rewards(model, ROWS, tmp_path) == ([1.0] * 8, 8)
    assert rewards(model, [{**row, "note": "is"} for row in ROWS], tmp_path) == (
        [1.0] * 4 + [0.0] * 4,
        8,
    )
    assert load_reward_model(model).describe()["reads"] == "whatever there is"
