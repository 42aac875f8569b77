"""A rubric's unreliable, dead, duplicate and presence-only criteria are found, sound ones left."""

from __future__ import annotations

import json

import numpy as np
import pytest

import rmaudit as rma
from rmaudit.audits.rubric.findings import CONSTANT, DUPLICATES, PRESENCE, RELIABILITY, SHARE, SLOPE
from rmaudit.audits.rubric.reading import read_rubric
from rmaudit.errors import DataError


def rubric(tmp_path, criteria, *, prompts=40, k=8, seed=0):
    """Rows whose criteria are given as name: (points, rule(rng, met) -> repeats, text)."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(prompts):
        outputs = [
            f"Response {j} " + ("names paracetamol." if rng.random() < 0.5 else "says rest.")
            for j in range(k)
        ]
        rows.append(
            {
                "id": f"r{i}",
                "prompt": f"Question {i}?",
                "outputs": outputs,
                "rubric": [
                    {
                        "criterion": name,
                        "points": points,
                        "verdicts": [rule(rng, o) for o in outputs],
                    }
                    for name, (points, rule) in criteria.items()
                ],
            }
        )
    path = tmp_path / "rubric.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path, rows


def coin(p=0.5, flip=0.0):
    """Two verdicts on one response, of which each is turned with a chance."""

    def rule(rng, output):
        met = rng.random() < p
        return [bool(met ^ (rng.random() < flip)) for _ in range(2)]

    return rule


def audited(path):
    return rma.audit(
        "recorded", path, samples=path, only=["rubric", "mix"], cache=False, debug=True
    )


def told(report, audit="rubric"):
    return {f.metric for f in report.findings if f.audit == audit and f.severity != "info"}


def test_a_sound_rubric_gets_no_finding(tmp_path):
    path, _ = rubric(tmp_path, {f"Quality {c}": (2, coin(0.5)) for c in "abcd"})
    report = audited(path)
    assert told(report) == set()
    assert report["rubric.reliability"].value == 1
    assert report["rubric.dead_points_share"].value == pytest.approx(0, abs=0.05)
    assert report["rubric.top_points_share"].value == 0.25
    first = next(f for f in report.findings if f.metric == SLOPE)
    assert first.severity == "info"


def test_each_fault_is_found_by_name_and_measured(tmp_path):
    path, rows = rubric(
        tmp_path,
        {
            "Sound": (2, coin()),
            "Noisy": (2, coin(flip=0.4)),
            "Dead": (3, lambda rng, output: True),
            "Mentions paracetamol": (1, lambda rng, output: "paracetamol" in output),
            "Has a drug": (1, lambda rng, output: "paracetamol" in output),
        },
    )
    report = audited(path)
    found = {(f.metric, f.title) for f in report.findings if f.severity in ("high", "medium")}
    told_of = lambda metric: [t for m, t in found if m == metric]  # noqa: E731
    assert len(told_of(RELIABILITY)) == 1
    assert "Noisy" in told_of(RELIABILITY)[0]
    assert len(told_of(CONSTANT)) == 1
    assert "Dead" in told_of(CONSTANT)[0]
    assert len(told_of(DUPLICATES)) == 1
    assert "Has a drug" in told_of(DUPLICATES)[0]
    assert len(told_of(PRESENCE)) == 1
    assert "Mentions paracetamol" in told_of(PRESENCE)[0]
    assert report["rubric.duplicate_points_share"].value == pytest.approx(1 / 9)
    assert report["rubric.presence_only_points_share"].value == pytest.approx(1 / 9)
    # Points on criteria without a difference, counted by hand.
    dead = sum(
        c["points"]
        for row in rows
        for c in row["rubric"]
        if len({float(np.mean(v)) for v in c["verdicts"]}) == 1
    )
    assert report["rubric.dead_points_share"].value == pytest.approx(dead / (9 * len(rows)))
    # Alpha of two repeats by hand: 1 - disagreement over spread.
    values = np.array([v for row in rows for v in row["rubric"][1]["verdicts"]], dtype=float)
    observed = ((values[:, 0] - values[:, 1]) ** 2 / 2).sum()
    expected = ((values - values.mean()) ** 2).mean(axis=1).sum()
    noisy = next(
        m
        for m in report.audits["rubric"].metrics
        if m.id == RELIABILITY and m.slice == {"criterion": "Noisy"}
    )
    assert noisy.value == pytest.approx(1 - observed / expected)


def test_rewards_are_points_over_points_and_the_mix_audit_has_the_criteria(tmp_path):
    path, rows = rubric(tmp_path, {"Good": (5, coin()), "Rude": (-2, coin(0.3))})
    data = rma.load(path)
    met = [[float(np.mean(v)) for v in c["verdicts"]] for c in rows[0]["rubric"]]
    assert data.frame["rewards"].iloc[0] == pytest.approx(
        [(5 * g - 2 * r) / 5 for g, r in zip(*met, strict=True)]
    )
    report = audited(path)
    components = {
        m.slice["component"] for m in report.audits["mix"].metrics if m.id == "mix.advantage_share"
    }
    assert components == {"Good", "Rude"}  # the total is no component of itself
    shares = [m.value for m in report.audits["rubric"].metrics if m.id == SHARE]
    assert sum(shares) == pytest.approx(1)


def test_verdicts_that_do_not_fit_the_responses_are_refused_by_name(tmp_path):
    path, rows = rubric(tmp_path, {"Good": (5, coin())}, prompts=2)
    for row in rows:
        row["rubric"][0]["verdicts"].pop()
    path.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(DataError, match="'Good' has 7 verdicts for 8 responses"):
        rma.load(path)


def test_data_without_a_rubric_are_not_run():
    rows = [{"prompt": f"{i}?", "chosen": "a", "rejected": "b"} for i in range(3)]
    report = rma.audit(lambda pairs: [1.0] * len(pairs), rows, only=["rubric"], cache=False)
    assert report.audits["rubric"].status == "not_run"
    assert "rubric" in report.audits["rubric"].reason


@pytest.mark.parametrize(
    ("met", "unmet"),
    [
        (True, False),
        (1, 0),
        ("Met", "NOT  MET"),
        ("present", "absent"),
        (1.0, 0.0),
        ({"criteria_met": True, "explanation": "5 mg"}, {"criteria_met": False}),
        ([True, True], [None, "no"]),
    ],
)
def test_every_way_to_write_a_verdict_gives_the_same_rewards(tmp_path, met, unmet):
    """Two criteria of 3 and 1 points, one against of -2; by hand 3/4, 1/4 and -1/4."""
    criteria = [
        {"criterion": "a", "points": 3, "verdicts": [met, unmet, unmet]},
        {"criterion": "b", "points": 1, "verdicts": [unmet, met, met]},
        {"criterion": "c", "points": -2, "verdicts": [unmet, unmet, met]},
    ]
    path = tmp_path / "rubric.jsonl"
    path.write_text(json.dumps({"prompt": "?", "outputs": ["x", "y", "z"], "rubric": criteria}))
    assert list(rma.load(path).frame["rewards"].iloc[0]) == [0.75, 0.25, -0.25]


def test_names_of_criteria_never_run_into_one_another_or_into_the_total(tmp_path):
    start = "Explains in full, and in words that a reader without training understands, what "
    criteria = [
        {"criterion": start + "the dose is", "points": 1, "verdicts": [True, False]},
        {"criterion": start + "the risk is", "points": 1, "verdicts": [False, False]},
        {"criterion": "total", "points": 1, "verdicts": [True, True]},
        {"criterion": "total", "points": 1, "verdicts": [True, None]},
    ]
    path = tmp_path / "rubric.jsonl"
    row = {"prompt": "?", "outputs": ["x", "y"], "rubric": criteria}
    path.write_text(json.dumps(row))
    data = rma.load(path)
    assert list(data.frame["rewards"].iloc[0]) == [0.75, 0.25]
    names = [each.name for each in read_rubric(data)]
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 80
    assert "total" not in names


def test_one_criterion_twice_is_a_duplicate(tmp_path):
    path, rows = rubric(tmp_path, {f"Quality {c}": (2, coin()) for c in "abc"})
    for row in rows:
        row["rubric"].append(dict(row["rubric"][0]))
    path.write_text("\n".join(json.dumps(row) for row in rows))
    report = audited(path)
    assert told(report) == {DUPLICATES}
    assert any("Quality a (2)" in f.title for f in report.findings if f.metric == DUPLICATES)


def test_null_verdicts_are_no_verdicts(tmp_path):
    """A response without any has no reward; a criterion without any is not dead, but unknown."""
    path, rows = rubric(tmp_path, {f"Quality {c}": (2, coin()) for c in "abc"})
    for row in rows:
        row["rubric"][2]["verdicts"] = [None] * 8
        for criterion in row["rubric"]:
            criterion["verdicts"][0] = None
    path.write_text("\n".join(json.dumps(row) for row in rows))
    rewards = rma.load(path).frame["rewards"]
    assert all(each[0] != each[0] and each[1] == each[1] for each in rewards)
    report = audited(path)
    assert CONSTANT not in told(report)
    assert report["rubric.dead_points_share"].value == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row.update(rubric=None), "no criteria"),
        (lambda row: row.update(rubric=[]), "no criteria"),
        (lambda row: row["rubric"][0].update(points=None), "points are no finite number"),
        (lambda row: row["rubric"][0].update(points=float("inf")), "points are no finite number"),
        (lambda row: row["rubric"][0].update(criterion=""), "not a criterion"),
    ],
)
def test_a_rubric_that_says_nothing_is_set_aside_by_name(tmp_path, change, said):
    path, rows = rubric(tmp_path, {"Quality": (2, coin())}, prompts=3)
    change(rows[1])
    path.write_text("\n".join(json.dumps(row) for row in rows))
    (aside,) = rma.load(path).set_aside
    assert aside.reason == said
