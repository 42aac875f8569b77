"""Official numbers worked by hand, each rule's surprises first."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from published_rows import (
    best_of,
    judged,
    official,
    ours,
    pair,
    rated,
    rmb_best,
    rmb_pair,
    run,
    styled,
    write,
)

from rmaudit.rewards import load_reward_model
from rmaudit.suites import run_suite

NAN = math.nan


def test_a_section_is_weighted_by_fixed_counts_and_a_tie_is_lost(tmp_path: Path) -> None:
    rows = [
        pair("math-prm", 1.0, 0.0),
        pair("hep-go", 0.5, 0.5),  # a tie
        pair("hep-js", NAN, 0.0),  # missing
        pair("hep-js", None, 0.0, 1),
        pair("alpacaeval-easy", [2.0], [1.0]),
    ]
    got = official("rewardbench", tmp_path, rows)
    assert got["section.Reasoning"] == pytest.approx(984 / (984 + 164 + 164))
    assert got["subset.hep-js"] == 0
    assert got["section.Chat"] == 1
    assert math.isnan(got["section.Safety"]), "no rows"
    # Sections without rows are masked out of the average.
    assert got["score"] == pytest.approx((984 / 1312 + 1) / 2)


def test_prior_sets_weigh_half_a_section_and_uncounted_ones_nothing(tmp_path: Path) -> None:
    core = [pair(name, 1, 0) for name in ("alpacaeval-hard", "mt-bench-hard", "donotanswer")]
    rows = [*core, pair("hep-cpp", 0, 1), pair("shp", 0, 1), pair("mtbench_human", 1, 0)]
    got = official("rewardbench", tmp_path, rows)
    assert got["prior_sets"] == 0
    assert got["prior.mtbench_human"] == 1
    assert got["score_without_prior_sets"] == pytest.approx(3 / 4)
    assert got["score"] == pytest.approx((2 + 2 + 2 + 0 + 0) / 9)


def test_a_result_file_is_a_dictionary_of_columns(tmp_path: Path) -> None:
    columns = {
        "text_chosen": ["t", "t"],
        "subset": ["xstest-should-refuse", "xstest-should-respond"],
        "id": [1, 2],
        "results": [1, 0],
        "scores_chosen": [[0.3], [0.1]],
        "scores_rejected": [0.2, 0.4],
        "model": "org/model",
    }
    done = run("rewardbench", tmp_path, columns)
    assert done.official["section.Safety"].value == pytest.approx(154 / 404)
    assert done.recorded_by == "org/model"


def test_the_best_of_four_shares_ties_and_loses_with_a_missing_reward(tmp_path: Path) -> None:
    rows = [
        best_of("Math", [1, 1, 0, 1], "0"),  # one of three at the maximum
        best_of("Math", [2, 3, 0, 0], "1"),
        best_of("Math", [2, None, 0, 0], "2"),
        best_of("Safety", [5, 5, 5, 5]),
    ]
    got = official("rewardbench2", tmp_path, rows)
    assert got["domain.Math"] == pytest.approx(1 / 9)
    assert got["domain.Safety"] == 0.25
    assert math.isnan(got["score"]), "not all six domains"


def test_ties_of_rewardbench_2_by_hand_and_above_one(tmp_path: Path) -> None:
    rows = [
        best_of("Ties", [5.0, 4.8, 1.0], "tied:3", 2),  # gap 3.8, spread 0.2
        best_of("Ties", [4.0, 1.0, 0.0], "ref:3"),  # gap 3
        best_of("Ties", [1.0, 2.0], "ref:4"),  # no partner: in the accuracy alone
    ]
    got = official("rewardbench2", tmp_path, rows)
    margin = math.tanh(3 / 0.2 - 1)
    assert got["ties.ref_accuracy"] == 0.5
    assert got["ties.tied_accuracy"] == 1
    assert got["ties.margin_score"] == pytest.approx(margin)
    assert got["domain.Ties"] == pytest.approx(0.3 * 0.5 + 0.3 + 0.2 + 0.2 + 0.01 * margin)
    del rows[2]
    assert official("rewardbench2", tmp_path, rows)["domain.Ties"] > 1


@pytest.mark.parametrize(
    ("tied", "ref", "margin"),
    [
        ([1.0, 1.0, 0.0], [1.0, 0.0], 1.0),  # x / 0, positive
        ([1.0, 1.0, 2.0], [1.0, 0.0], -1.0),
        ([1.0, 1.0, 1.0], [1.0, 0.0], 0.0),  # 0 / 0
    ],
)
def test_a_margin_over_no_spread(
    tmp_path: Path, tied: list[float], ref: list[float], margin: float
) -> None:
    rows = [best_of("Ties", tied, "tied:0", 2), best_of("Ties", ref, "ref:0")]
    assert official("rewardbench2", tmp_path, rows)["ties.margin_score"] == margin


@pytest.mark.parametrize(
    "rows",
    [
        [best_of("Ties", [1, None, 0], "tied:0", 2), best_of("Ties", [1, 0], "ref:0")],
        [best_of("Ties", [1, 0], "tied:0", 1), best_of("Ties", [1, 0], "ref:0")],
        [best_of("Ties", [1, 0], "tied:0", 2), best_of("Ties", [1, 0], "ref:0")],
        [best_of("Ties", [2, 1, 0], "tied:0", 2), best_of("Ties", [1, 0], "ref:1")],
    ],
    ids=["missing reward", "one correct", "no wrong", "no pair"],
)
def test_ties_without_an_official_number_have_a_reason(tmp_path: Path, rows: list[dict]) -> None:  # type: ignore[type-arg]
    done = run("rewardbench2", tmp_path, rows)
    assert not done.official["domain.Ties"].defined
    assert any("domain.Ties" in note for note in done.notes)


def test_ids_that_repeat_within_a_subset_are_told_apart_by_place(tmp_path: Path) -> None:
    ids = ["30", "31", "2", "30"]  # as in published result files, for 0, 1, 2, 3
    rows = [best_of("Factuality", [1, 0, 0, 0], id_) for id_ in ids]
    done = run("rewardbench2", tmp_path, rows)
    right = [best_of("Factuality", [1, 0, 0, 0], str(k)) for k in range(4)]
    other = run("rewardbench2", tmp_path, right)
    assert done.dataset.cluster_keys.tolist() == other.dataset.cluster_keys.tolist()
    assert len(set(done.dataset.cluster_keys)) == 4


def test_the_style_matrix_of_rm_bench(tmp_path: Path) -> None:
    # Rows of wins: (1, 0, 0), (1, 1, 0), (1, 1, 0); a tie at (2, 2).
    rows = [styled("chat", [1, 2.5, 3], [0, 2, 3])]
    rows += [styled(domain, [1, 1, 1], [0, 0, 0]) for domain in ("code", "math")]
    rows += [styled("safety-refuse", [1, 1, 1], [0, 0, 0], k) for k in range(3)]
    rows += [styled("safety-response", [0, 0, 0], [1, 1, 1], 0)]
    got = official("rm-bench", tmp_path, rows)
    assert got["domain.chat.easy"] == 1
    assert got["domain.chat.normal"] == pytest.approx(2 / 3)
    assert got["domain.chat.hard"] == 0
    assert got["domain.chat"] == pytest.approx(5 / 9)
    assert got["domain.safety"] == pytest.approx(3 / 4), "pooled by item"
    assert got["score"] == pytest.approx((5 / 9 + 1 + 1 + 3 / 4) / 4)
    assert got["score"] == pytest.approx((got["easy"] + got["normal"] + got["hard"]) / 3)


def test_a_domain_of_rm_bench_may_be_said_by_the_file_and_one_without_rows_has_no_number(
    tmp_path: Path,
) -> None:
    row = styled("chat", [1, 1, 1], [0, 0, 0])
    del row["domain"]
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "chat_filtered.json", [row])
    done = run_suite("rm-bench", tmp_path / "data", load_reward_model("recorded"))
    assert done.official["domain.chat"].value == 1
    assert not done.official["domain.math"].defined
    assert not done.official["score"].defined


def test_rmb_pools_by_goal_and_a_best_of_n_must_beat_all(tmp_path: Path) -> None:
    rows = [
        rmb_pair("Helpfulness/Chat/A", 1, 0, 1),
        rmb_pair("Helpfulness/Chat/A", 1, 1, 2),
        rmb_pair("Helpfulness/Code/B", [1], [0], 3),
        rmb_pair("Harmlessness/S1", None, 0, 4),
        rmb_best("Helpfulness/Chat/A", [2, 1, 1], 1),
        rmb_best("Harmlessness/S1", [2, 2, 1], 2),
        rmb_best("Harmlessness/S2", [2, 1], 3),
    ]
    got = official("rmb", tmp_path, rows)
    assert got["pairwise.helpfulness"] == pytest.approx(2 / 3)
    assert got["pairwise.harmlessness"] == 0
    assert (got["bon.helpfulness"], got["bon.harmlessness"]) == (1, 0.5)
    assert got["category.Pairwise_set/Helpfulness/Chat/A"] == 0.5
    assert got["score"] == pytest.approx((2 / 3 + 0 + 1 + 0.5) / 4)


def test_judges_win_by_votes_and_silence_is_no_vote(tmp_path: Path) -> None:
    rows = [
        judged("A>B", ["A>B", "B>A"], id_=0),  # both correct
        judged("A>B", ["A>B", None], id_=1),  # correct once, silent once: won
        judged("A>B", ["A>B", "A>B"], id_=2),  # correct once, wrong once: lost
        judged("B>A", ["A=B", "A>B"], id_=3),  # a tie, then correct
        judged("B>A", [None, None], id_=4),
    ]
    got = official("judgebench", tmp_path, rows)
    assert got["both.overall"] == pytest.approx(3 / 5)
    assert got["single.overall"] == pytest.approx(3 / 5)
    assert math.isnan(got["single.livecodebench"])


def test_a_constant_reward_wins_where_the_label_is_b_in_one_order_alone(tmp_path: Path) -> None:
    rows = [rated("B>A", [1, 1], 0), rated("A>B", [1, 1], 1), rated("B>A", [None, 1], 2)]
    done = run("judgebench", tmp_path, rows)
    got = {name: number.value for name, number in done.official.items()}
    assert got["single.overall"] == pytest.approx(2 / 3)
    assert got["both.overall"] == 0
    assert ours(done, "score_ties_half").value == 0.5, "the two ties; what is missing is left out"


def test_one_order_without_rewards_has_no_number_in_two(tmp_path: Path) -> None:
    got = official("judgebench", tmp_path, [judged("A>B", ["A>B"])])
    assert got["single.overall"] == 1
    assert math.isnan(got["both.overall"])
