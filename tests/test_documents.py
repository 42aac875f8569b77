"""What the documents show works as printed, and the committed page is current."""

from __future__ import annotations

import importlib
import json
import math
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import rmaudit as rma
from rmaudit.audits.base import AUDITS
from rmaudit.audits.base import audits as registered_audits
from rmaudit.audits.verifier.exploits import EXPLOIT_CLASSES
from rmaudit.cli import app
from rmaudit.data.layouts import layouts
from rmaudit.errors import SchemaError
from rmaudit.export.trackers import TRACKERS, log_to
from rmaudit.plots import draw
from rmaudit.plots.kinds import FIGURES
from rmaudit.probes import Subject
from rmaudit.probes.transforms import TRANSFORMS
from rmaudit.rewards.kinds import REWARDS

ROOT = Path(__file__).resolve().parents[1]


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


# Where the examples would stand in the package, in the order of the documents.
EXAMPLES = {
    "CONTRIBUTING.md": ["rmaudit/audits/politeness.py"],
    "docs/extend.md": [
        "rmaudit/probes/shout.py",
        "rmaudit/rewards/kinds/mentions.py",
        "rmaudit/plots/strip.py",
        "rmaudit/data/layouts/quiz.py",
        "rmaudit/export/trackers/lines.py",
        "rmaudit/audits/verifier/exploits/opening.py",
    ],
}


@pytest.fixture
def run_example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Run the example of a path; what it registers is forgotten after the test."""

    def run(path: str) -> None:
        document = next(name for name, paths in EXAMPLES.items() if path in paths)
        source = blocks(document, "python")[EXAMPLES[document].index(path)]
        name = path.removesuffix(".py").rpartition("/")[2]
        for registry in (AUDITS, TRANSFORMS, REWARDS, FIGURES, layouts, TRACKERS, EXPLOIT_CLASSES):
            registry.load()
            for held in ("_things", "_homes"):  # an example that stands in the package makes way
                kept = {key: value for key, value in getattr(registry, held).items() if key != name}
                monkeypatch.setattr(registry, held, kept)
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(source, path, "exec"), module.__dict__)

    return run


def test_the_audit_of_the_contributing_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_example: Callable[[str], None]
) -> None:
    run_example("rmaudit/audits/politeness.py")
    (tmp_path / "please.py").write_text(
        "def reward(pairs):\n    return [2.0 * ('Please' in o) + len(o) / 100 for _, o in pairs]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    pairs = pd.DataFrame(
        {"prompt": [f"q{i}" for i in range(20)], "chosen": "yes, of course", "rejected": "no"}
    )
    report = rma.audit("python:please:reward", rma.load(pairs), only=["politeness"], cache=False)
    # " Please let me know." is 20 characters and holds the word that is paid for.
    assert report["politeness.effect"].value == pytest.approx(2.2)


def test_the_transform_and_the_suite_of_the_guide_run(
    tmp_path: Path, run_example: Callable[[str], None]
) -> None:
    run_example("rmaudit/probes/shout.py")
    changed = TRANSFORMS["shout"].apply(Subject("one two three four"), 0, {"share": 0.5})
    assert changed == "ONE TWO three four"
    (tmp_path / "suite.yaml").write_text(blocks("docs/extend.md", "yaml")[0])
    done = CliRunner().invoke(app, ["probes", "check", str(tmp_path)])
    assert done.exit_code == 0, done.output


def test_the_reward_of_the_guide_runs(run_example: Callable[[str], None]) -> None:
    run_example("rmaudit/rewards/kinds/mentions.py")
    pairs = pd.DataFrame(
        {"prompt": [f"q{i}" for i in range(9)], "chosen": "a blue sky", "rejected": "a grey sky"}
    )
    report = rma.audit("mentions:blue", rma.load(pairs), only=["preference"], cache=False)
    assert report["preference.accuracy"].value == 1


def test_the_figure_of_the_guide_is_drawn(run_example: Callable[[str], None]) -> None:
    run_example("rmaudit/plots/strip.py")
    drawing = draw({"kind": "strip", "data": {"values": [1.0, 2.0], "xlabel": "score"}})
    assert drawing.get_size_inches()[1] == 1
    assert drawing.axes[0].get_xlabel() == "score"


def test_the_layout_of_the_guide_is_recognised(run_example: Callable[[str], None]) -> None:
    run_example("rmaudit/data/layouts/quiz.py")
    data = rma.load([{"frage": "2 + 2?", "antwort_1": "5", "antwort_2": "4", "gewinner": 2}])
    assert (data.reading.layout, data.frame["chosen"][0]) == ("quiz", "4")


def test_the_tracker_of_the_guide_keeps_a_report(
    tmp_path: Path, run_example: Callable[[str], None]
) -> None:
    run_example("rmaudit/export/trackers/lines.py")
    report = rma.Report.load(ROOT / "reports" / "example")
    place = log_to(report, ROOT / "reports" / "example", f"lines:{tmp_path / 'audits.jsonl'}")
    kept = json.loads(Path(place).read_text())
    assert kept["preference.accuracy.low"] == report["preference.accuracy"].low


@pytest.mark.parametrize("document", EXAMPLES)
def test_the_examples_pass_the_linter(document: str) -> None:
    pytest.importorskip("ruff")
    sources = blocks(document, "python")
    assert len(sources) == len(EXAMPLES[document])
    for path, source in zip(EXAMPLES[document], sources, strict=True):
        for command in (["check"], ["format", "--check"]):
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *command, "--stdin-filename", path, "-"],
                input=source,
                text=True,
                capture_output=True,
                cwd=ROOT,
            )
            assert done.returncode == 0, (path, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "docs/index.md",
        "docs/bench.md",
        "docs/gate.md",
        "docs/over-optimisation.md",
        "docs/results.md",
        "docs/scale.md",
        "docs/signals.md",
        "docs/models.md",
        "docs/real-data.md",
    ],
)
def test_every_command_of_the_readme_is_known(document: str) -> None:
    lines = [line for block in blocks(document, "sh") for line in block.splitlines()]
    commands = [line.split("#")[0].split() for line in lines if line.startswith("rmaudit ")]
    assert commands
    for command in commands:
        words = [word for word in command[1:] if not word.startswith("-")]
        depth = 2 if words[:1] in (["train"], ["probes"]) else 1
        shown = CliRunner().invoke(app, [*words[:depth], "--help"])
        assert shown.exit_code == 0, command
        for flag in re.findall(r"--[a-z-]+", " ".join(command)):
            assert flag in shown.output, (command, flag)


def metrics(report: dict[str, Any]) -> dict[tuple[str, str], list[float]]:
    nan = math.nan
    return {
        (metric["id"], json.dumps(metric["slice"])): [
            nan if number is None else number for number in (metric["value"], *metric["ci"])
        ]
        for audit in report["audits"].values()
        for metric in audit["metrics"]
    }


def axes_without_unit(report: dict[str, Any]) -> list[str]:
    """Axes of shares that would be drawn from 0 to 1, where the page has percent or points."""
    share = re.compile(r"\b(share|accuracy|rate|confidence|alpha)\b(?!.*\()")
    return [
        f"{audit}, {figure['title']}: {figure['data'][f'{side}label']}"
        for audit, result in report["audits"].items()
        for figure in result["figures"]
        for side in "xy"
        if share.search(figure["data"].get(f"{side}label") or "")
        and figure["data"].get(f"{side}unit") not in ("percent", "points")
    ]


def undrawn(figure: dict[str, Any]) -> str:
    raise SchemaError("not drawn in this test")


def test_the_committed_example_is_what_make_example_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its numbers are compared; what draws them has tests of its own, and would take as long again.
    monkeypatch.setattr("rmaudit.report.page.to_svg", undrawn)
    done = CliRunner().invoke(
        app, ["demo", "--synthetic", "--out", str(tmp_path), "--quiet", "--debug"]
    )
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert axes_without_unit(report) == []
    built = metrics(report)
    committed = metrics(json.loads((ROOT / "reports" / "example" / "report.json").read_text()))
    # An audit added since the page was made is no fault of the page.
    names = {id_.partition(".")[0] for id_, _ in committed}
    built = {key: numbers for key, numbers in built.items() if key[0].partition(".")[0] in names}
    assert built.keys() == committed.keys(), "run `make example` and commit the page"
    for key, numbers in built.items():
        # An AUROC of 800 pairs moves by 6e-6 where another release rounds one distance otherwise.
        assert numbers == pytest.approx(committed[key], abs=1e-5, rel=1e-6, nan_ok=True), key


def test_a_demonstration_says_which_command_makes_it_again() -> None:
    page = (ROOT / "reports" / "example" / "report.html").read_text()
    page = re.sub(r"</?span[^>]*>", "", page)
    assert "Reproduce: <code>rmaudit demo --synthetic</code>" in page


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_nothing_is_installed_by_a_name_that_pypi_does_not_have() -> None:
    """Until the first release every text says `pip install .`, or the packages that are missing."""
    shown = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "rmaudit").rglob("*.*")]
    pattern = re.compile(r"pip install (?:-\S+ )*['\"]?rmaudit\b")
    texts = [path for path in shown if path.suffix in (".md", ".py", ".yml", ".toml", ".html")]
    assert len(texts) > 300
    assert [path for path in texts if pattern.search(path.read_text())] == []


def test_every_page_of_an_audit_is_of_one_that_is_registered() -> None:
    """Audits without a page get one from the registry; a page without an audit is left over."""
    names = {audit.name for audit in registered_audits()}
    for page in (ROOT / "docs" / "audits").glob("*.md"):
        if page.stem != "index":
            assert page.stem in names
            assert f"<!-- audit: {page.stem} -->" in page.read_text(), page.stem


def _pages(entries: list[Any]) -> list[str]:
    values = [value for entry in entries for value in entry.values()]
    return [page for v in values for page in ([v] if isinstance(v, str) else _pages(v))]


def test_every_page_stands_in_the_navigation_once() -> None:
    listed = _pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    # The pages of single audits are listed from the registry, see docs/hooks.py.
    written = {path.as_posix() for path in pages if path.parent.name != "audits"}
    assert sorted(listed) == sorted({*written, "audits/index.md"})


def _module(value: Any) -> str | None:
    return getattr(value, "__module__", None)


def _documented() -> set[int]:
    """Identities of the objects that the reference names, themselves or as members."""
    named = set()
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        for block in re.split(r"^::: ", page.read_text(), flags=re.MULTILINE)[1:]:
            path = block.split()[0]
            members = re.search(r"members: \[(.*?)\]", block)
            try:
                thing: Any = importlib.import_module(path)
                held = [n for n, value in vars(thing).items() if _module(value) == path]
                names = members[1].split(", ") if members else held
                named |= {id(getattr(thing, name)) for name in names}
            except ModuleNotFoundError as error:
                if not str(error.name).startswith("rmaudit"):
                    continue  # a module of an extra that is not installed
                home, _, name = path.rpartition(".")
                named.add(id(getattr(importlib.import_module(home), name)))
    return named


def test_everything_public_stands_in_the_reference() -> None:
    documented = _documented()
    public = {
        name: getattr(rma, name) for name in rma.__all__ if name not in ("__version__", "stats")
    }
    public |= {f"stats.{name}": getattr(rma.stats, name) for name in dir(rma.stats)}
    missing = [name for name, thing in public.items() if id(thing) not in documented]
    assert missing == []


def test_the_class_of_exploits_of_the_guide_is_tried(run_example: Callable[[str], None]) -> None:
    run_example("rmaudit/audits/verifier/exploits/opening.py")
    rows = [
        {"prompt": f"Say {i}.", "chosen": f"Certainly! It is {i}.", "rejected": "No."}
        for i in range(20)
    ]

    def polite(completions: list[str], **columns: object) -> list[float]:
        return [float(text.startswith("Certainly!")) for text in completions]

    polite.kind = "verdict"  # type: ignore[attr-defined]
    report = rma.audit(polite, rows, only=["verifier"], cache=False)
    assert report.get("verifier.acceptance_rate", **{"class": "opening alone"}).value == 1
