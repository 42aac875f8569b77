"""Preflight finds planted faults of scoring, and none in a model that has none."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import rmaudit as rma
from rmaudit.audits.preflight.audit import Preflight
from rmaudit.case import Case
from rmaudit.data.types import Dataset, Source
from rmaudit.rewards.base import Encoded, RewardModel
from rmaudit.rewards.functions.function import PythonReward
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring import score

N = 60


class Planted(RewardModel):
    """Rewards are output lengths, plus what a fault adds to them."""

    name = kind = fingerprint = "planted"

    def __init__(self, fault: str = "", dtype: str = "float32", size: float = 1.0) -> None:
        self.fault, self.dtype, self.size = fault, dtype, size

    def encode(self, texts):
        return [
            Encoded(
                payload=text,
                tokens=len(text.prompt) + len(text.output),
                output_tokens=len(text.output),
                truncated="truncated" in text.output,
                output_truncated="too long" in text.output,
                double_bos="bos" in text.output,
            )
            for text in texts
        ]

    def forward(self, batch, *, pad_left=False):
        rewards = np.array([float(len(each.payload.output)) for each in batch])
        rewards[[("nan" in each.payload.output) for each in batch]] = math.nan
        if (self.fault == "batch" and len(batch) > 1) or (self.fault == "left" and pad_left):
            rewards += self.size
        if self.fault == "overflow" and len(batch) > 1:
            rewards[0] = math.inf
        return rewards

    def describe(self):
        facts = {"dtype": self.dtype}
        if self.fault == "padding token":
            facts["two_readings"] = "texts end in </s>: rewards differ by up to 0.7"
        return facts


def pairs(n: int = N, marked: str = "", **columns) -> Dataset:
    """Outputs whose length differs by 2 within each prompt; `marked` stands in the first chosen."""
    frame = pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(n)],
            "prompt": [f"prompt {i}" for i in range(n)],
            "chosen": ["x" * (10 + i) for i in range(n)],
            "rejected": ["y" * (8 + i) for i in range(n)],
            "row": range(1, n + 1),
            "tie": False,
            **columns,
        }
    )
    if marked:
        frame.loc[0, "chosen"] = (marked + "x" * 99)[: len(frame.loc[0, "chosen"])]
    return Dataset("preference", frame, Source("data.jsonl", "0", n, n, 0))


# Within each prompt rewards differ by 2: deviations of 1 and -1, so the pooled SD is
# sqrt(2 n / (2 n - n)) = sqrt(2).
SD = math.sqrt(2)


def run(model: RewardModel, data: Dataset, seed: int = 0):
    case = Case(model, data, seed=seed)
    audit = Preflight()
    assert audit.missing(case) is None
    requests = [*case.data_requests, *audit.requests(case)]
    scores = score(model, requests, datasets={"eval": data})
    return audit.measure(case, scores)


def test_a_sound_model_passes_with_every_metric():
    result = run(Planted(), pairs())
    assert {m.id for m in result.metrics} == set(Preflight.metrics)
    assert all(m.estimate.defined and m.estimate.value == 0 for m in result.metrics)
    assert result["preflight.max_batch_discrepancy"].ci == (0.0, 0.0)
    assert result.findings == ()
    assert result.not_run == ()


@pytest.mark.parametrize(("fault", "said"), [("batch", "alone"), ("left", "left-padded")])
def test_a_reward_that_depends_on_batch_or_padding_is_found_with_its_size(fault, said):
    result = run(Planted(fault), pairs())
    estimate = result["preflight.max_batch_discrepancy"]
    # Left-padded texts are batched too: the batch fault is in both and only shows alone.
    assert estimate.value == pytest.approx(1 / SD)
    assert estimate.low == estimate.value == estimate.high
    assert estimate.method == "exact"
    assert estimate.n == 32
    (finding,) = result.findings
    assert finding.severity == "high"
    assert (
        finding.title == f"The reward of a text changes by up to 0.71 SD when it is scored {said}"
    )
    assert len(finding.examples) == 5
    assert "as measured" in finding.examples[0]["note"]


@pytest.mark.parametrize(
    ("dtype", "size", "found"),
    [
        ("float32", 0.9e-3, False),
        ("float32", 1.1e-3, True),
        ("bfloat16", 0.09, False),
        ("bfloat16", 0.11, True),
    ],
)
def test_rounding_of_the_number_format_is_tolerated(dtype, size, found):
    result = run(Planted("batch", dtype, size * SD), pairs())
    assert result["preflight.max_batch_discrepancy"].value == pytest.approx(size)
    assert bool(result.findings) == found


def test_a_reward_finite_only_alone_is_found_and_its_size_undefined():
    result = run(Planted("overflow"), pairs())
    assert result["preflight.max_batch_discrepancy"].undefined_reason == (
        "a reward is finite in one batch and not in another"
    )
    titles = [finding.title for finding in result.findings]
    assert titles[0].startswith("Non-finite rewards: ")
    assert "between finite and not" in titles[1]


def test_non_finite_rewards_are_counted_and_shown():
    result = run(Planted(), pairs(marked="nan"))
    estimate = result["preflight.nonfinite_share"]
    assert estimate.value == 1 / (2 * N)
    assert estimate.low < 1 / (2 * N) < estimate.high
    assert estimate.n_clusters == N
    (finding,) = result.findings
    assert finding.title == f"Non-finite rewards: 1 of {2 * N} texts"
    assert finding.severity == "high"
    assert [shown["id"] for shown in finding.examples] == ["r0"]
    assert finding.examples[0]["note"] == "reward nan"


@pytest.mark.parametrize(
    ("marked", "metric", "severity"),
    [
        ("truncated", "preflight.truncated_share", "low"),
        ("too long", "preflight.output_truncated_share", "medium"),
        ("bos", "preflight.double_bos_share", "medium"),
    ],
)
def test_what_was_done_to_texts_is_counted_per_subset_too(marked, metric, severity):
    subsets = ["code" if i < 20 else "chat" for i in range(N)]
    result = run(Planted(), pairs(marked=marked, subset=subsets))
    assert result[metric].value == 1 / (2 * N)
    assert result.get(metric, subset="code").value == 1 / 40
    assert result.get(metric, subset="chat").value == 0
    (finding,) = result.findings
    assert (finding.metric, finding.severity) == (metric, severity)
    assert finding.title.startswith("0.83% of the")


def test_texts_that_end_in_the_padding_token_are_pointed_out():
    (finding,) = run(Planted("padding token"), pairs()).findings
    assert finding.severity == "medium"
    assert finding.title == "Texts end in the model's padding token"


def test_the_sample_is_of_all_lengths_with_the_longest_and_follows_the_seed():
    def sampled(seed):
        requests = Preflight().requests(Case(Planted(), pairs(), seed=seed))
        assert [r.mode for r in requests] == ["plain", "alone", "left"]
        assert len({tuple(r.ids) for r in requests}) == 1
        return requests[0].outputs

    lengths = sorted(len(output) for output in sampled(0))
    assert len(lengths) == 32
    assert lengths[-1] == 10 + N - 1
    assert lengths[0] < 12
    assert np.diff(lengths).max() <= 6
    assert sampled(0) == sampled(0)
    assert sampled(0) != sampled(1)


def test_two_texts_are_a_sample_of_two():
    result = run(Planted("left"), pairs(1))
    assert result["preflight.max_batch_discrepancy"].n == 2


def test_a_constant_reward_has_no_unit_but_its_faults_are_found():
    class Constant(Planted):
        def forward(self, batch, *, pad_left=False):
            return np.full(len(batch), 1.0 + pad_left)

    result = run(Constant(), pairs())
    assert "do not vary" in result["preflight.max_batch_discrepancy"].undefined_reason
    assert [finding.severity for finding in result.findings] == ["high"]
    assert result.figures == ()


def test_a_function_is_checked_alone_but_not_padded():
    state = {"calls": 0}

    def drifting(texts):
        state["calls"] += 1
        return [len(output) + 0.1 * state["calls"] for _, output in texts]

    result = run(PythonReward(drifting, "drifting"), pairs())
    assert [gap.what for gap in result.not_run] == ["left padding"]
    assert result["preflight.max_batch_discrepancy"].value > 0.1
    assert result.findings[0].severity == "high"
    assert not result["preflight.truncated_share"].defined
    assert result["preflight.nonfinite_share"].value == 0


def test_recorded_rewards_are_checked_for_what_can_be_checked():
    data = pairs(chosen_reward=[math.nan] + [1.0] * (N - 1), rejected_reward=[0.5] * N)
    result = run(Recorded(), data)
    assert [gap.what for gap in result.not_run] == ["batching and padding"]
    assert not result["preflight.max_batch_discrepancy"].defined
    assert not result["preflight.double_bos_share"].defined
    assert result["preflight.nonfinite_share"].value == 1 / (2 * N)
    assert [finding.title for finding in result.findings] == [
        f"Non-finite rewards: 1 of {2 * N} texts"
    ]


def test_tables_and_figure_hold_the_checked_sample():
    result = run(Planted("left"), pairs())
    sample = result.tables["sample"]
    assert len(sample) == 32
    np.testing.assert_allclose(sample["reward left-padded"] - sample["reward"], 1.0)
    assert result.tables["model"].set_index("fact")["value"]["dtype"] == "float32"
    (figure,) = result.figures
    names = [series["name"] for series in figure.data["series"]]
    assert names == ["alone against batched", "left-padded against batched"]
    np.testing.assert_allclose(figure.data["series"][1]["y"], 1 / SD)


def test_data_without_outputs_is_not_run():
    frame = pd.DataFrame({"id": ["a"], "prompt": ["p"], "row": [1]})
    data = Dataset("deployment", frame, Source("d.jsonl", "0", 1, 1, 0))
    assert Preflight().missing(Case(Planted(), data)) == "needs responses in --eval"


def reads(rewards):
    """Preflight's result for a trainer's function that gives the chosen responses `rewards`."""

    def reward(prompts, completions, wanted, **columns):
        return [rewards(c) for c in completions]

    rows = [
        {"prompt": f"p{i}", "chosen": f"yes {i}", "rejected": f"no {i}", "wanted": "x"}
        for i in range(20)
    ]
    report = rma.audit(reward, rows, only=["preflight", "preference"], cache=False, debug=True)
    return report


def test_a_reward_that_does_not_apply_is_counted_apart_and_is_no_fault():
    report = reads(lambda c: None if c.endswith(("1", "7")) else float(len(c)))
    assert report["preflight.not_applicable_share"].value == 8 / 40
    assert report["preflight.nonfinite_share"].value == 0
    assert [f.title for f in report.findings if f.audit == "preflight"] == []
    counts = report.audits["preference"].tables["pairs"]
    told = dict(counts.rows)
    assert told["left out: the reward does not apply"] == 4
    assert told["left out: non-finite reward"] == 0


def test_nan_stays_a_finding_beside_rewards_that_do_not_apply():
    report = reads(lambda c: {"1": None, "7": math.nan}.get(c[-1], float(len(c))))
    assert report["preflight.not_applicable_share"].value == 4 / 40
    assert report["preflight.nonfinite_share"].value == 4 / 40
    (finding,) = [f for f in report.findings if f.audit == "preflight"]
    assert finding.title == "Non-finite rewards: 4 of 40 texts"
    assert finding.detail.startswith("4 of 40")


def test_a_reward_that_applies_nowhere_is_told():
    report = reads(lambda c: None)
    assert "does not apply to any text" in report.findings[0].title


def test_what_the_function_fails_on_is_told_with_its_reason():
    def rewarded(c):
        if c == "yes 5":
            raise ValueError("no five, please")
        return float(len(c))

    report = reads(rewarded)
    findings = {f.title: f for f in report.findings if f.audit == "preflight"}
    assert not any("Non-finite rewards" in title for title in findings)
    (title,) = [title for title in findings if title.startswith("The reward failed on")]
    assert findings[title].severity == "high"
    assert "no five, please" in findings[title].detail
    assert "for 1 of the 40 texts of --eval" in findings[title].detail
