"""The robustness audit: by hand, on planted faults, on a clean reward; its cost is bounded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from known_rewards import FunctionModel, table
from numpy.typing import NDArray
from scipy.special import ndtr
from town_world import broken, clean, town_pairs

import rmaudit as rma
from rmaudit.audits.common.allocation import FIRST_LOOK, PROBE_PAIRS
from rmaudit.audits.common.pairs import Unit, comparisons
from rmaudit.audits.robustness import audit as robustness
from rmaudit.audits.robustness.audit import Robustness
from rmaudit.audits.robustness.effects import Effect
from rmaudit.audits.robustness.plan import plan
from rmaudit.case import Case
from rmaudit.probes.loading import Suite, load_suite, load_suites
from rmaudit.results import AuditResult
from rmaudit.rewards.base import Encoded
from rmaudit.scoring.progress import SilentProgress

Make = Callable[..., Case]
Run = Callable[..., AuditResult]
SIDES = ("chosen", "rejected")


def found(result: AuditResult) -> set[str]:
    return {finding.title.split("(")[1].split(")")[0] for finding in result.findings}


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> tuple[Suite, ...]:
    kept = tuple(suite for suite in load_suites() if suite.name in names)
    monkeypatch.setattr(robustness, "suites_of", lambda case: kept)
    return kept


def test_four_pairs_by_hand(
    make_case: Make, run_audit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "damage")
    # The reward is the number of words; `truncated` keeps half of at least six words.
    words = [(8, 2), (8, 5), (6, 9), (3, 1)]
    rows = [
        {"prompt": f"p{i}", "chosen": f"c{i} " * c, "rejected": f"r{i} " * r}
        for i, (c, r) in enumerate(words)
    ]
    result = run_audit(Robustness(), make_case(rows))
    probe = {"probe": "damage/truncated"}
    # within-prompt squares: half of the squared margins 6, 3, -3 and 2, on one degree each
    sd = math.sqrt((36 + 9 + 9 + 4) / 2 / 4)
    effect = result.get("robustness.effect", **probe)
    assert effect.value == pytest.approx((-4 - 4 - 3) / 3 / sd)
    assert (effect.n, effect.n_clusters) == (3, 3)
    # of 8 > 2 and 8 > 5, the halves 4 > 2 and 4 < 5
    assert result.get("robustness.flip_rate", **probe).value == pytest.approx(1 / 2)
    assert result.get("robustness.pass_rate", **probe).value == 1.0
    empty = result.get("robustness.effect", probe="damage/empty")
    assert empty.value == pytest.approx(-(8 + 8 + 6 + 3) / 4 / sd)
    refused = result.get("robustness.pass_rate", probe="damage/refusal")
    assert refused.value == pytest.approx(1 / 4)  # two stay at eight words, two rise to them


def test_a_prompt_probe_compares_margins(
    make_case: Make, run_audit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "surface")
    rows = [{"prompt": f"Ask {i}?", "chosen": "a b c", "rejected": "d"} for i in range(6)]

    def reward(prompt: str, output: str) -> float:
        words = len(output.split())
        return 100.0 * len(prompt) + (words if "@" not in prompt else 4.0 - words)

    result = run_audit(Robustness(), make_case(rows, reward))
    probe = {"probe": "surface/prompt-handle"}
    # margins of 2 become -2; the level that the longer prompt adds to both cancels
    sd = math.sqrt(2.0)
    assert result.get("robustness.effect", **probe).value == pytest.approx(-4 / sd)
    assert result.get("robustness.flip_rate", **probe).value == 1.0
    assert result.get("robustness.pass_rate", **probe).value == 0.0
    assert "surface/list-marks" in {part.what for part in result.not_run}


@pytest.mark.parametrize("seed", range(3))
def test_a_clean_reward_has_no_finding(make_case: Make, run_audit: Run, seed: int) -> None:
    result = run_audit(Robustness(), make_case(town_pairs(160, seed), clean, seed=seed))
    assert [finding.title for finding in result.findings] == []
    assert result["robustness.pass_rate"].value > 0.95


@pytest.mark.parametrize(
    ("fault", "probes", "seed"),
    [
        ("typo sensitivity", {"surface/typos", "surface/lower-case"}, 0),
        ("flattery pay", {"boilerplate/flattery"}, 1),
        ("number blindness", {"damage/numbers-changed"}, 0),
        ("sycophancy", {"sycophancy/stated-belief"}, 1),
        ("bias against names", {"fairness/names"}, 0),
    ],
)
def test_a_planted_fault_is_found_and_no_other(
    make_case: Make, run_audit: Run, fault: str, probes: set[str], seed: int
) -> None:
    case = make_case(town_pairs(160, seed), broken(fault), seed=seed)
    result = run_audit(Robustness(), case)
    assert found(result) == probes
    rows = next(f for f in result.figures if f.name == "effects").data["rows"]
    assert {row["label"] for row in rows if row["outcome"] == "fail"} == probes
    assert sum(row["outcome"] == "pass" for row in rows) > len(rows) / 2
    for finding in result.findings:
        assert finding.examples
        assert all("SD" in row["note"] for row in finding.examples)


def test_examples_show_before_and_after_with_marks(make_case: Make, run_audit: Run) -> None:
    result = run_audit(Robustness(), make_case(town_pairs(160), broken("flattery pay")))
    (finding,) = result.findings
    first = finding.examples[0]
    assert first["after"].startswith("[+")
    assert first["before"] in first["after"]
    assert first["reward_after"] - first["reward_before"] == pytest.approx(2.0, abs=0.1)
    worst = result.tables["worst"].set_index("probe")
    assert worst.loc["boilerplate/flattery", "after"].startswith("[+")


def test_the_texts_are_bounded_and_the_same_each_time(make_case: Make) -> None:
    frame = town_pairs(1000)
    case = make_case(frame, clean)
    requests = Robustness().requests(case)
    assert sum(len(request.ids) for request in requests) <= 4200
    assert max(len(request.ids) for request in requests) == PROBE_PAIRS
    keys = [request.key for request in requests]
    assert len(set(keys)) == len(keys)
    again = Robustness().requests(make_case(frame, clean))
    assert [request.outputs for request in requests] == [request.outputs for request in again]
    other = Robustness().requests(make_case(frame, clean, seed=1))
    assert [request.outputs for request in requests] != [request.outputs for request in other]


def test_the_order_of_rows_does_not_matter(make_case: Make, run_audit: Run) -> None:
    frame = town_pairs(100)
    mixed = frame.sample(frac=1.0, random_state=1).reset_index(drop=True)
    one, two = (run_audit(Robustness(), make_case(f, clean)) for f in (frame, mixed))
    # `other_answer` too: the other output is that of the next pair in an order of texts
    for metric in one.metrics:
        value = two.get(metric.id, **metric.slice).value
        assert value == pytest.approx(metric.estimate.value, nan_ok=True)


@pytest.mark.parametrize("change", [lambda r: 8 * r, lambda r: r + 3])
def test_scale_and_level_do_not_matter(
    make_case: Make, run_audit: Run, change: Callable[[float], float]
) -> None:
    frame = town_pairs(60)
    one = run_audit(Robustness(), make_case(frame, clean))
    two = run_audit(Robustness(), make_case(frame, lambda p, o: change(clean(p, o))))
    for metric in one.metrics:
        value = two.get(metric.id, **metric.slice).value
        assert value == pytest.approx(metric.estimate.value, nan_ok=True, abs=1e-9)


def test_non_finite_rewards_are_left_out_and_counted(make_case: Make, run_audit: Run) -> None:
    def reward(prompt: str, output: str) -> float:
        return math.nan if "brilliant" in output else clean(prompt, output)

    result = run_audit(Robustness(), make_case(town_pairs(PROBE_PAIRS), reward))
    table = result.tables["probes"].set_index("probe")
    left_out = table.loc["boilerplate/flattery", "left_out"]
    assert 0 < left_out == PROBE_PAIRS - table.loc["boilerplate/flattery", "texts"]
    assert table.loc["boilerplate/opening", "left_out"] == 0


def test_only_probes_that_lean_at_the_first_look_are_asked_in_full() -> None:
    frame = table(town_pairs(300))
    sound, paying = (
        rma.audit(FunctionModel(reward), frame, only=["robustness"], cache=False)
        for reward in (clean, broken("flattery pay"))
    )
    probe = "boilerplate/flattery"
    effects = [r.get("robustness.effect", probe=probe) for r in (sound, paying)]
    assert [effect.n for effect in effects] == [FIRST_LOOK, PROBE_PAIRS]
    assert paying.get("robustness.effect", probe="surface/typos").n == FIRST_LOOK
    assert not sound.findings
    assert [probe in str(finding.title) for finding in paying.findings] == [True]


class Told(SilentProgress):
    """What was said before the first forward pass."""

    def __init__(self, model: FunctionModel) -> None:
        self.model = model
        self.said: list[tuple[int, int]] = []

    def plan(self, texts: int, missing: int, tokens: int, unit: str) -> None:
        assert self.model.passes == 0
        self.said.append((texts, missing))


class Counting(FunctionModel):
    """Counts the texts that go through it."""

    passes = 0

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        self.passes += len(batch)
        return super().forward(batch, pad_left=pad_left)


def test_fifteen_transforms_cost_what_is_needed_and_that_is_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = """typos lower_case upper_case white_space punctuation look_alikes contractions synonyms
        words_shuffled sentences_dropped truncated repeated negated numbers_changed bold_added"""
    header = "schema_version: 1\nname: many\nversion: 1\ntitle: Many\nquestion: Is it moved?\n"
    header += "kind: invariance\nlicence: CC0-1.0\nsources: [own]\nprobes:\n"
    (tmp_path / "suite.yaml").write_text(
        header
        + "".join(
            f"  - {{name: {n.replace('_', '-')}, meaning: m, transform: {n}, expected: same}}\n"
            for n in names.split()
        )
    )
    suite = load_suite(tmp_path)
    assert len(suite.entries) == 15
    monkeypatch.setattr(robustness, "suites_of", lambda case: (suite,))
    frame = town_pairs(1000)
    model = Counting(clean)
    told = Told(model)
    report = rma.audit(model, table(frame), only=["robustness"], cache=False, progress=told)
    assert report["robustness.pass_rate"].defined
    # By the definition: each sampled pair changed by each transform, each text once.
    needed = {(row["prompt"], row[s]) for row in frame.to_dict("records") for s in SIDES}
    variants = 0
    for request in Robustness().requests(Case(model=model, eval=table(frame))):
        variants += len(request.ids)
        needed |= set(zip(map(str, request.prompts), request.outputs, strict=True))
    assert variants > 10 * PROBE_PAIRS
    assert told.said == [(len(needed), len(needed))]
    assert 2 * len(frame) < model.passes < len(needed)  # probes that do not lean are left off


def test_heat_map_is_the_effect_on_each_subset(
    make_case: Make, run_audit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (suite,) = only(monkeypatch, "damage")
    frame = town_pairs(60)
    case = make_case(frame, clean)
    result = run_audit(Robustness(), case)
    (figure,) = [f for f in result.figures if f.kind == "heatmap"]
    values = np.array(figure.data["values"], dtype=float)
    assert values.shape == (len(suite.file.probes), 2)
    pairs = comparisons(case)
    sd_of = result.get("robustness.effect", probe="damage/truncated").value
    made = next(made for made in plan(case, [suite]) if made.key == "damage/truncated")
    changes = pd.DataFrame(
        {
            "subset": frame["subset"].iloc[pairs.outputs.row[pairs.better[made.place]]].to_numpy(),
            "change": [
                clean(str(prompt), output) - clean(str(prompt), before)
                for prompt, output, before in zip(
                    made.prompts,
                    made.outputs,
                    pairs.outputs.words[pairs.better[made.place]],
                    strict=True,
                )
            ],
        }
    )
    means = changes.groupby("subset")["change"].mean()
    row = figure.data["rows"].index("damage/truncated")
    for column, subset in enumerate(figure.data["columns"]):
        expected = means[subset] / changes["change"].mean() * sd_of
        assert values[row, column] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["ranking", "rating"])
def test_other_kinds_of_data(make_case: Make, run_audit: Run, kind: Any) -> None:
    frame = town_pairs(40)
    if kind == "ranking":
        rows = frame[["id", "prompt"]].assign(
            outputs=frame[["chosen", "rejected"]].values.tolist(), ranking=[[1, 2]] * len(frame)
        )
    else:
        parts = [
            frame.assign(output=frame[s], rating=r) for s, r in (("chosen", 2), ("rejected", 1))
        ]
        rows = pd.concat(parts)[["prompt", "output", "rating"]]
        rows["rating"] = rows["rating"].astype(float)
    result = run_audit(Robustness(), make_case(rows, clean, kind=kind))
    assert result.get("robustness.pass_rate", probe="damage/words-shuffled").value == 1.0


def test_what_it_needs(make_case: Make) -> None:
    frame = town_pairs(4)
    recorded = Robustness().missing(make_case(frame, clean, new_text=False))
    assert recorded is not None
    assert "new text" in recorded
    prompts = Robustness().missing(make_case(frame[["prompt"]], clean, kind="deployment"))
    assert prompts is not None
    assert "--eval" in prompts
    assert Robustness().missing(make_case(frame, clean)) is None


def test_a_pass_rate_knows_that_its_half_sd_is_estimated() -> None:
    """Two-sided: with the SD taken for known, 85 % of these intervals held the value."""
    suite, probe = next(
        (suite, probe)
        for suite in load_suites()
        for probe in suite.file.probes
        if probe.expected == "same"
    )
    n, sets, held = 200, 600, 0
    truth = float(ndtr((0.5 - 0.4) / 0.3) - ndtr((-0.5 - 0.4) / 0.3))
    for seed in range(sets):
        rng = np.random.default_rng(seed)
        rewards = rng.normal(size=(n, 2))  # of an SD of 1
        square = ((rewards - rewards.mean(axis=1, keepdims=True)) ** 2).ravel()
        unit = Unit(square, np.full(2 * n, 0.5), np.repeat(np.arange(n), 2))
        change, none, at = rng.normal(0.4, 0.3, n), np.zeros(n), np.arange(n)
        effect = Effect(suite, probe, change, at, at, none, none, unit, 0, ())
        rate = effect.pass_rate(0.95)
        assert rate.value == pytest.approx(effect.passed.mean())
        assert (rate.n, rate.n_clusters) == (n, n)
        held += rate.low <= truth <= rate.high
    error = math.sqrt(0.95 * 0.05 / sets)
    assert 0.935 - 2 * error <= held / sets <= 0.965 + 2 * error
