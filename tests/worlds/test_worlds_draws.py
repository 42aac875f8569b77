"""What is drawn from the clinic world agrees with what the world says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from rmaudit.data import load
from rmaudit.errors import UsageError
from rmaudit.worlds.clinic.world import ClinicWorld


@pytest.fixture(scope="module")
def world() -> ClinicWorld:
    return ClinicWorld(3)


def within(share: float, expected: float, n: int) -> bool:
    """Within 4.5 standard errors of a binomial share: a false alarm in 150,000."""
    return abs(share - expected) < 4.5 * np.sqrt(expected * (1 - expected) / n)


def test_feedback_follows_its_distribution_and_names_its_texts(world: ClinicWorld) -> None:
    frame = world.draw_feedback(6000, np.random.default_rng(0))
    assert within((frame["family"] == "booking").mean(), 0.52, 6000)
    assert within((frame["family"] == "urgent symptom").mean(), 0.01, 6000)
    assert within((frame["tone"] == "polite").mean(), 0.80, 6000)
    assert frame["id"].is_unique
    assert (frame["chosen"] != frame["rejected"]).all()
    for row in frame.iloc[:50].itertuples():
        assert row.prompt == world.contexts["prompt"][row.context]
        assert row.chosen == world.output_text(row.context, row.chosen_output)
        assert row.rejected == world.output_text(row.context, row.rejected_output)
        assert row.annotator_votes.count("chosen") >= 2
        assert len(set(row.annotators)) == 3


def test_annotators_answer_by_bradley_terry(world: ClinicWorld) -> None:
    # one annotator a pair: how often the better one (by R* + taste) wins has mean sigmoid(|u|)
    frame = world.draw_feedback(6000, np.random.default_rng(1), annotators=1)
    people = [world.annotators.index(names[0]) for names in frame["annotators"]]
    context = frame["context"].to_numpy()
    chosen, rejected = frame["chosen_output"].to_numpy(), frame["rejected_output"].to_numpy()
    utility = (
        world.true_reward(context, chosen)
        + world.tastes[people, chosen]
        - world.true_reward(context, rejected)
        - world.tastes[people, rejected]
    )
    p = expit(np.abs(utility))
    standard_error = np.sqrt((p * (1 - p)).sum()) / len(p)
    assert abs((utility > 0).mean() - p.mean()) < 4.5 * standard_error


def test_an_even_split_is_decided_both_ways(world: ClinicWorld) -> None:
    frame = world.draw_feedback(2000, np.random.default_rng(2), annotators=2)
    split = frame[[votes.count("chosen") == 1 for votes in frame["annotator_votes"]]]
    first_vote_wins = np.mean([votes[0] == "chosen" for votes in split["annotator_votes"]])
    assert within(float(first_vote_wins), 0.5, len(split))
    with pytest.raises(UsageError, match="annotators must be from 1 to 12"):
        world.draw_feedback(10, np.random.default_rng(2), annotators=13)


def test_evaluation_is_labelled_by_the_true_reward(world: ClinicWorld) -> None:
    frame = world.draw_evaluation(3000, np.random.default_rng(3))
    context = frame["context"]
    margin = world.true_reward(context, frame["chosen_output"]) - world.true_reward(
        context, frame["rejected_output"]
    )
    assert (margin > 1e-9).all()
    np.testing.assert_allclose(frame["true_margin"], margin)
    assert within((frame["family"] == "urgent symptom").mean(), 1 / 7, 3000)


def test_outputs_are_drawn_from_the_policy(world: ClinicWorld) -> None:
    frame = world.draw_samples(200, 100, np.random.default_rng(4))
    assert frame["prompt"].is_unique
    for family in ("booking", "urgent symptom"):
        rows = frame[frame["family"] == family]
        outputs = np.concatenate([np.array(o) for o in rows["output_indices"]])
        probability = np.exp(world.log_policy(int(rows["context"].iloc[0])))
        for slot in world.features:
            digits = world.features[slot].to_numpy()
            for value in np.unique(digits):
                expected = probability[digits == value].sum()
                assert within((digits[outputs] == value).mean(), expected, len(outputs))
    row = frame.iloc[0]
    gold = [float(world.true_reward(row["context"], o)) for o in row["output_indices"]]
    assert row["gold_rewards"] == gold
    assert row["outputs"][7] == world.output_text(row["context"], row["output_indices"][7])
    with pytest.raises(UsageError, match="2520 contexts"):
        world.draw_samples(3000, 1, np.random.default_rng(0))


def test_deployment_style_names_the_reply(world: ClinicWorld) -> None:
    frame = world.draw_deployment(500, np.random.default_rng(5))
    escalates = [
        any(word in outputs[0].lower() for word in ("nurse", "112")) for outputs in frame["outputs"]
    ]
    assert (frame["style"] == "escalates").tolist() == escalates
    assert {"plain", "promises", "reassures", "pads"} <= set(frame["style"])


def test_literal_coverage_by_hand(world: ClinicWorld) -> None:
    # context 0: outputs 1, 2, 3; context 9: outputs 1, 4. The third row repeats the first.
    feedback = pd.DataFrame(
        {
            "context": [0, 0, 0, 9],
            "chosen_output": [1, 3, 2, 1],
            "rejected_output": [2, 1, 1, 4],
        }
    )
    found = world.literal_coverage(feedback)
    assert found.kappa == found.kappa_mass == pytest.approx(2 / 2520)
    assert found.rho == pytest.approx(5 / (2 * 6144))
    first, second = np.exp(world.log_policy(0)), np.exp(world.log_policy(9))
    assert found.rho_mass == pytest.approx((first[[1, 2, 3]].sum() + second[[1, 4]].sum()) / 2)


def test_literal_coverage_of_nothing_is_undefined(world: ClinicWorld) -> None:
    nothing = world.draw_feedback(1, np.random.default_rng(0)).iloc[:0]
    found = world.literal_coverage(nothing)
    assert found.kappa == found.kappa_mass == 0
    assert np.isnan(found.rho)
    assert np.isnan(found.rho_mass)


def test_seeds_decide_everything(world: ClinicWorld) -> None:
    other = ClinicWorld(4)
    assert np.array_equal(world.tastes, ClinicWorld(3).tastes)
    assert not np.array_equal(world.tastes, other.tastes)
    first, again, different = (
        ClinicWorld(3).draw_feedback(40, np.random.default_rng(seed)) for seed in (6, 6, 7)
    )
    assert first.to_json(orient="records") == again.to_json(orient="records")
    assert first.to_json(orient="records") != different.to_json(orient="records")


def test_drawn_tables_are_data_that_every_command_takes(world: ClinicWorld, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    tables = {
        "preference": world.draw_feedback(30, rng),
        "deployment": world.draw_deployment(30, rng),
        "samples": world.draw_samples(5, 4, rng),
    }
    for kind, table in tables.items():
        path = tmp_path / f"{kind}.jsonl"
        table.to_json(path, orient="records", lines=True, force_ascii=False)
        data = load(path)
        assert data.type == kind
        assert len(data) == len(table)
        assert data.frame["id"].tolist() == table["id"].tolist()
    evaluation = tmp_path / "evaluation.jsonl"
    world.draw_evaluation(30, rng).to_json(evaluation, orient="records", lines=True)
    assert load(evaluation).type == "preference"
