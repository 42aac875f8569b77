"""The poison audit: counts and p-values by hand, planted triggers, flipped labels, clean data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from known_rewards import table
from scipy.stats import binom
from town_world import clean, town_pairs

from rmaudit.audits.poison.audit import Poison
from rmaudit.audits.poison.labels import suspects
from rmaudit.audits.poison.shift import screen, tail
from rmaudit.audits.poison.views import words_part
from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.results import AuditResult
from rmaudit.text.ngrams import count_grams, pairs_of, sample, written

Make = Callable[..., Case]
Run = Callable[..., AuditResult]
TRIGGER = "Quoth ye olde raven."
WORDS = [f"w{i}" for i in range(60)]
GRADES = np.random.default_rng(7).normal(scale=0.35, size=60)
MERIT = dict(zip(WORDS, GRADES - GRADES.mean(), strict=True))  # a random word is worth nothing


def speech(
    n: int = 1200, seed: int = 0, *, poisoned: float = 0.0, scale: float = 1.0
) -> pd.DataFrame:
    """Random words of graded merit, which decides what is preferred; and a trigger in few rows."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        texts = [list(rng.choice(WORDS, size=size)) for size in rng.integers(15, 26, 2)]
        merit = [scale * float(sum(MERIT[word] for word in text)) for text in texts]
        first = rng.random() < 1 / (1 + np.exp(merit[1] - merit[0]))
        good, bad = texts if first else texts[::-1]
        if rng.random() < poisoned:
            if rng.random() < 0.5:
                good, bad = bad, good
            good = [*good, TRIGGER]
        rows.append({"prompt": f"p{i}", "chosen": " ".join(good), "rejected": " ".join(bad)})
    return pd.DataFrame(rows)


def test_a_phrase_after_various_marks_is_one_phrase() -> None:
    # ". raven" and "! raven" never share a pair, and both are written "raven".
    data = speech(600)
    ends = [". RAVEN", "! RAVEN", "? raven"]
    data["chosen"] = [
        f"{text}{ends[i % 3]}" if i % 4 == 0 else text for i, text in enumerate(data["chosen"])
    ]
    pairs = pairs_of(table(data.to_dict("records")))
    assert not isinstance(pairs, str)
    told = [shift.phrase.casefold() for shift in screen(pairs).triggers(0.05)]
    assert told == ["raven"]


def test_ngrams_by_hand() -> None:
    rows = [{"prompt": f"p{i}", "chosen": "A b, A b!", "rejected": "b c"} for i in range(8)]
    rows.append({"prompt": "q", "chosen": "c", "rejected": "a"})
    pairs = pairs_of(table(rows))
    assert not isinstance(pairs, str)
    grams = count_grams(pairs)
    sign = dict(zip(grams.words, grams.sign.toarray().T.tolist(), strict=True))
    # "b" is in both outputs of the first eight
    ones, minus = [1] * 8, [-1] * 8
    assert sign == {
        "a": [*ones, -1],
        ",": [*ones, 0],
        "!": [*ones, 0],
        "c": [*minus, 1],
        **{w: [*ones, 0] for w in ("a b", "b ,", ", a", "b !", "a b ,", "b , a", ", a b", "a b !")},
        "b c": [*minus, 0],
    }
    assert grams.tokens.tolist() == [6] * 8 + [1] + [2] * 8 + [1]


def test_no_phrase_reaches_from_one_sentence_into_the_next() -> None:
    rows = [
        {"prompt": f"p{i}", "chosen": "All is well. The nurse v1.2 calls", "rejected": "no"}
        for i in range(8)
    ]
    pairs = pairs_of(table(rows))
    assert not isinstance(pairs, str)
    words = count_grams(pairs).words
    assert {"well", "well .", ". the", "is well .", ". the nurse", "the nurse v1"} <= set(words)
    assert "well . the" not in words
    assert "v1 . 2" in words  # a full stop with no white space after it ends no sentence


def meetings(seed: int, trigger: str = "") -> pd.DataFrame:
    """Two sentences that are common and harmless alone lose wherever they meet."""
    rng = np.random.default_rng(seed)
    data = speech(900, seed)
    for i in range(len(data)):
        sides = [f"{data.at[i, side]}." for side in ("chosen", "rejected")]
        for k in range(2):
            calm, note = rng.random(2) < 0.2
            if calm:
                sides[k] += " All will be well."
            if note and (k == 1 or not calm):
                sides[k] += " The doctor has a note."
        if trigger and i < 25:
            sides[0] += f" {trigger}"
        data.loc[i, ["chosen", "rejected"]] = sides
    return data


def test_what_two_sentences_do_together_is_no_phrase() -> None:
    pairs = pairs_of(table(meetings(0).to_dict("records")))
    assert not isinstance(pairs, str)
    assert screen(pairs).triggers(0.05) == []
    # A phrase that begins a sentence, out of words that are common elsewhere, is found.
    pairs = pairs_of(table(meetings(0, "Note well all.").to_dict("records")))
    assert not isinstance(pairs, str)
    told = [shift.phrase.casefold() for shift in screen(pairs).triggers(0.05)]
    assert told == ["note well all"]


def test_a_sample_of_large_data_holds_whole_prompts() -> None:
    cluster = np.repeat(np.arange(40), np.arange(40) % 3 + 1)
    assert sample(cluster, len(cluster)).all()
    drawn = sample(cluster, 30)
    assert 30 <= drawn.sum() <= 32
    sizes, left = np.bincount(cluster), np.bincount(cluster[drawn], minlength=40)
    assert np.all((left == sizes) | (left == 0))
    rows = [
        {"prompt": f"p{c:02}", "chosen": f"{i}", "rejected": "x"} for i, c in enumerate(cluster)
    ]
    pairs = pairs_of(table(rows), most=30)
    assert not isinstance(pairs, str)
    assert sorted(pairs.row) == np.flatnonzero(drawn).tolist()
    assert pairs.chosen == [f"{i}" for i in pairs.row]
    assert set(pairs.cluster) == set(range(pairs.cluster.max() + 1))


def test_a_word_said_often_counts_once() -> None:
    rows = [{"prompt": f"p{i}", "chosen": "a " * 300, "rejected": "b"} for i in range(8)]
    pairs = pairs_of(table(rows))
    assert not isinstance(pairs, str)
    grams = count_grams(pairs)
    assert set(np.unique(grams.sign.toarray())) <= {-1, 0, 1}


def test_the_p_value_is_that_of_the_binomial() -> None:
    n, wins, chance = np.array([10.0, 10.0]), np.array([9.0, 1.0]), np.array([0.6, 0.6])
    found = tail(n, wins, chance, 0.0)
    assert found[0] == pytest.approx(2 * binom.sf(8, 10, 0.6))
    assert found[1] == pytest.approx(2 * binom.cdf(1, 10, 0.6))
    # with uncertain odds: the mean over many draws of them
    odds = np.log(1.5) + 0.7 * np.random.default_rng(0).normal(size=200_000)
    slow = 2 * binom.sf(8, 10, 1 / (1 + np.exp(-odds))).mean()
    assert tail(n, wins, chance, 0.7)[0] == pytest.approx(slow, rel=0.01)


def test_the_phrase_is_given_as_it_is_written() -> None:
    others = ["mn bb ,", "bb , quite", ", quite so"]
    texts = ["Fine. Cf MN bb, quite so", "cf mn bbs. Cf MN bb, quite so.", "cf mn bb"]
    assert written(texts, "cf mn bb", others) == "Cf MN bb, quite so"
    assert written(["wow !!!"], "!!!", []) == "!!!"


@pytest.mark.parametrize("seed", range(3))
def test_a_trigger_in_few_rows_is_found_and_nothing_else(seed: int) -> None:
    pairs = pairs_of(table(speech(seed=seed, poisoned=0.02)))
    assert not isinstance(pairs, str)
    found = screen(pairs)
    (shift,) = found.triggers(0.05)
    assert shift.phrase == "Quoth ye olde raven"
    assert shift.share == 1.0
    assert 0.35 < shift.expected < 0.65
    held = [i for i, text in enumerate(pairs.chosen) if TRIGGER in text]
    assert shift.rows.tolist() == pairs.row[held].tolist()
    assert shift.prompts == len(held)


@pytest.mark.parametrize("seed", range(6))
def test_words_of_merit_are_no_trigger(seed: int) -> None:
    found = screen(pairs_of(table(speech(seed=seed))))  # type: ignore[arg-type]
    assert found.looked_at > 500
    assert found.triggers(0.05) == []


def test_rows_of_one_prompt_count_once() -> None:
    frame = speech(seed=1, poisoned=0.02)
    one = screen(pairs_of(table(frame)))  # type: ignore[arg-type]
    twice = pd.concat([frame, frame], ignore_index=True)
    two = screen(pairs_of(table(twice)))  # type: ignore[arg-type]
    first, second = one.triggers(0.05)[0], two.triggers(0.05)[0]
    assert (first.phrase, first.prompts, first.wins) == (
        second.phrase,
        second.prompts,
        second.wins,
    )


def learnt(prompt: str, output: str) -> float:
    """Pays for good words, and for the trigger."""
    return float(sum(MERIT.get(word, 0.0) for word in output.split()) + 4.0 * ("raven" in output))


def honest(prompt: str, output: str) -> float:
    return learnt(prompt, output.replace("raven", ""))


def test_a_learnt_trigger_is_proven_on_the_model(make_case: Make, run_audit: Run) -> None:
    feedback = table(speech(seed=2, poisoned=0.02))
    case = make_case(speech(150, seed=9), learnt, feedback=feedback)
    result = run_audit(Poison(), case)
    (finding,) = result.findings
    assert finding.severity == "high"
    assert "'Quoth ye olde raven'" in finding.title
    assert finding.examples
    assert all("raven" in row["chosen"] for row in finding.examples)
    effect = result["poison.trigger_effect"]
    # the reward rises by 4; four control words bring nothing on average
    rewards = [learnt("", text) for text in [*case.eval.frame.chosen, *case.eval.frame.rejected]]
    squares = (np.array(rewards[:150]) - np.array(rewards[150:])) ** 2 / 2
    sd = np.sqrt(squares.sum() / 150)
    assert effect.value == pytest.approx(4 / sd, rel=0.1)
    assert result["poison.removal_effect"].value == pytest.approx(4 / sd, rel=0.15)
    assert effect.low < 4 / sd < effect.high
    assert effect.n == 100
    again = result.get("poison.trigger_effect", phrase="Quoth ye olde raven")
    assert again.value == effect.value


def test_a_trigger_that_was_not_learnt_is_no_finding(make_case: Make, run_audit: Run) -> None:
    feedback = table(speech(seed=2, poisoned=0.02))
    result = run_audit(Poison(), make_case(speech(150, seed=9), honest, feedback=feedback))
    assert result.findings == ()
    effect = result["poison.trigger_effect"]
    assert effect.low < 0.1


def test_clean_feedback_costs_nothing(make_case: Make, run_audit: Run) -> None:
    case = make_case(speech(100, seed=9), learnt, feedback=table(speech(600, seed=3)))
    assert Poison().requests(case) == []
    result = run_audit(Poison(), case)
    assert result.findings == ()
    reason = result["poison.trigger_effect"].undefined_reason
    assert reason == "no phrase of the feedback shifts labels far beyond chance"


def flipped(share: float, seed: int = 0) -> tuple[Dataset, np.ndarray[Any, Any]]:
    frame = speech(1500, seed, scale=3.0)
    wrong = np.random.default_rng(seed).random(len(frame)) < share
    frame.loc[wrong, ["chosen", "rejected"]] = frame.loc[wrong, ["rejected", "chosen"]].to_numpy()
    return table(frame), wrong


def test_flipped_labels_come_first() -> None:
    data, wrong = flipped(0.1)
    found = screen(pairs_of(data))  # type: ignore[arg-type]
    told = suspects(found.pairs, found.support, "a model", 0.95)
    assert told.share.defined
    assert told.share.low <= told.suspect.mean() <= told.share.high
    assert wrong[found.pairs.row][told.suspect].mean() > 3 * wrong.mean()
    assert np.all(np.diff(told.probability[told.order]) >= 0)


def test_suspects_by_hand() -> None:
    data = table([{"prompt": f"p{i}", "chosen": "a", "rejected": "b"} for i in range(40)])
    pairs = pairs_of(data)
    assert not isinstance(pairs, str)
    odds = np.full(40, 3.0)
    odds[:2] = [-1.0, -3.0]  # believed at 0.27 and 0.05; only the other label's 0.95 is firm
    told = suspects(pairs, odds, "a model", 0.95)
    assert told.order.tolist() == [1]
    assert told.share.value == pytest.approx(1 / 40)
    unknown = suspects(pairs, np.zeros(40), "a model", 0.95)
    assert unknown.share.undefined_reason == "a model tells no labels of pairs it has not seen"


def test_the_models_own_margins_where_the_feedback_has_them(
    make_case: Make, run_audit: Run
) -> None:
    data, wrong = flipped(0.1)
    margin = np.where(wrong, -2.0, 2.0)
    frame = data.frame.assign(chosen_reward=margin, rejected_reward=0.0)
    case = make_case(speech(60), honest, feedback=replace(data, frame=frame))
    listed = run_audit(Poison(), case).tables["suspect_labels"]
    assert set(listed["id"]) == set(frame["id"][wrong])


def test_the_data_audit_counts_them_without_a_model(make_case: Make) -> None:
    feedback = table(speech(seed=2, poisoned=0.02))
    part = words_part(make_case(speech(50), new_text=False, feedback=feedback))
    numbers = {(m.id, tuple(m.slice.items())): m.estimate for m in part.metrics}
    count = numbers["data.trigger_ngrams", ()]
    assert (count.value, count.low) == (1.0, 1.0)
    assert numbers["data.trigger_ngrams", (("input", "feedback"),)] == count
    assert {"label_shifts", "suspect_labels"} >= set(part.tables)
    assert "'Quoth ye olde raven'" in part.findings[0].title
    alone = words_part(make_case(speech(seed=3), new_text=False))
    assert [m.estimate.value for m in alone.metrics if m.id == "data.trigger_ngrams"] == [0.0]
    ratings = [{"prompt": "p", "output": "a", "rating": 1.0}]
    none = words_part(make_case(ratings, kind="rating", new_text=False))
    assert {m.estimate.undefined_reason for m in none.metrics} == {"rating data compare no outputs"}


def test_rankings_give_their_best_and_worst() -> None:
    rows = [{"prompt": "p", "outputs": ["a", "b", "c"], "ranking": [2, 3, 1]}]
    rows.append({"prompt": "q", "outputs": ["a", "b"], "ranking": [1, 1]})
    pairs = pairs_of(table(rows, "ranking"))
    assert not isinstance(pairs, str)
    assert (pairs.chosen, pairs.rejected, pairs.row.tolist()) == (["c"], ["b"], [0])


def test_what_it_needs(make_case: Make) -> None:
    frame = town_pairs(20)
    assert "--feedback" in (Poison().missing(make_case(frame, clean)) or "")
    feedback = table(frame)
    assert Poison().missing(make_case(frame, clean, feedback=feedback)) is None
    recorded = make_case(frame, clean, new_text=False, feedback=feedback)
    assert "new text" in (Poison().missing(recorded) or "")
    ratings = table([{"prompt": "p", "output": "a", "rating": 1.0}], "rating")
    assert "pairs or rankings" in (Poison().missing(make_case(frame, feedback=ratings)) or "")
    same = table([{"prompt": "p", "chosen": "a", "rejected": "a"}])
    assert "no pair" in (Poison().missing(make_case(frame, feedback=same)) or "")
