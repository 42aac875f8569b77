"""Where contexts lie relative to the feedback: what coverage, generalization and others share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from rmaudit.audits.common.memoize import memoize
from rmaudit.audits.common.row_content import words_of
from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.rewards.base import Text
from rmaudit.scoring.requests import data_requests
from rmaudit.support.conformal import Calibration, neighbour_distance, split_prompts
from rmaudit.text.embedding import Encoder, Space, embed, unavailable
from rmaudit.typing import Float, Integers, Vectors

REWARD_MODEL = "reward-model"  # the embedder that is the audited model itself


@dataclass(frozen=True)
class Support:
    """Vectors of the feedback and of other texts, and the support test of those it was fitted on.

    Attributes
    ----------
    feedback
        (n_texts, dimensions).
    others
        "deployment", "eval", "samples", each (n_texts, dimensions).
    near, held_out
        Places of the neighbours and of the calibration rows among the feedback's texts.
    n_prompts
        Distinct prompts of the feedback.
    """

    feedback: Vectors
    others: dict[str, Vectors]
    near: Integers
    held_out: Integers
    n_prompts: int

    @cached_property
    def calibration(self) -> Calibration:
        """Distances of the calibration rows."""
        near = self.feedback[self.near]
        return Calibration(neighbour_distance(self.feedback[self.held_out], near), self.n_prompts)

    @cached_property
    def distances(self) -> dict[str, Float]:
        """Distances of the other texts; only of those the space was fitted on are they tested."""
        near = self.feedback[self.near]
        return {name: neighbour_distance(vectors, near) for name, vectors in self.others.items()}

    def p(self, name: str) -> Float:
        """Conformal p-values of the other texts, (n,); NaN where the test is undefined."""
        return self.calibration.p_values(self.distances[name])

    def outside(self, name: str) -> Float:
        """1 where one of the other texts is outside, else 0, (n,); NaN where undefined."""
        return self.calibration.outside(self.distances[name])


@memoize
def contexts(case: Case, name: str = "deployment") -> Support:
    """The prompts of feedback, deployment and evaluation in one space; once for each case.

    Requires `Case.feedback`. The embedder is fitted on the feedback and on the input `name`
    ("deployment", "eval" or "samples") alone, which keeps the two exchangeable if they were: a
    third table that repeats prompts of one of them would draw the space toward it. The evaluation
    data are placed beside the deployment, and not tested.
    """
    reference = feedback_of(case)
    tested = case.inputs.get(name)
    words = prompt_words(reference)
    vectors = embed(
        words,
        prompt_words(tested),
        outsiders=prompt_words(case.eval) if name == "deployment" else (),
        embedder=embedder(case),
        seed=case.seed,
    )
    others = dict(zip((name, "eval"), vectors[1:], strict=False))
    prompts = prompts_of(reference)
    near, held_out = split_prompts(prompts, case.rng("support"), words)
    return Support(vectors[0], others, near, held_out, len(set(prompts)))


def support(case: Case) -> Float:
    """Conformal p of each evaluation row's prompt against the feedback, (n_rows,), in (0, 1].

    At most 0.05 is outside the support; NaN where the test is undefined. See `lacking` for what it
    needs.
    """
    return contexts(case, "eval").p("eval")


def lacking(case: Case) -> str | None:
    """What the support of the feedback cannot be had without, in words."""
    if case.feedback is None:
        return "needs --feedback, the preference data that the reward model was trained on"
    if not any(case.feedback.frame["prompt"]):
        return "needs prompts in --feedback: all are empty"
    if len(case.feedback) < 2:
        return "needs two rows or more in --feedback: one cannot tell what is far from it"
    if case.embedder == REWARD_MODEL:
        if case.model.members[0].kind == "transformers":
            return None
        return "the embedder reward-model needs a transformers model as --model; or use tfidf"
    return unavailable(case.embedder)


def embedder(case: Case) -> str | Encoder:
    """What to embed with; under "reward-model" the hidden state that the reward is read from.

    Texts of (context, output) are those of `output_words`: a line break parts the two.
    """
    if case.embedder != REWARD_MODEL:
        return case.embedder
    from rmaudit.rewards.local.hidden import hidden_states

    def encode(texts: list[str]) -> Vectors:
        parted = [text.partition("\n") for text in texts]
        return hidden_states(case.model, [Text(prompt, output) for prompt, _, output in parted])

    return encode


def feedback_of(case: Case) -> Dataset:
    """The feedback of a case that has one; see `lacking`."""
    if case.feedback is None:
        raise ValueError("the case has no feedback")
    return case.feedback


def prompt_words(data: Dataset | None) -> list[str]:
    """Normalised words of every row's prompt."""
    return [] if data is None else [words_of(prompt) for prompt in data.frame["prompt"].tolist()]


def prompts_of(data: Dataset) -> list[str]:
    """What the support test splits by: every row's ``group``, where there is one, or its prompt.

    Prompts that differ in case or white space alone are one.
    """
    return data.frame["group"].astype(str).tolist() if "group" in data.frame else prompt_words(data)


def output_words(data: Dataset, name: str) -> tuple[list[str], Integers]:
    """Normalised (context, output) texts of all outputs, and the row of each."""
    place = {id_: i for i, id_ in enumerate(data.frame["id"].tolist())}
    texts: list[str] = []
    rows: list[int] = []
    for request in data_requests(data, name):
        for id_, prompt, output in zip(request.ids, request.prompts, request.outputs, strict=True):
            texts.append(f"{words_of(prompt)}\n{words_of(output)}")
            rows.append(place[id_])
    return texts, np.array(rows, dtype=np.int64)


def pair_support(case: Case, others: dict[str, list[str]], purpose: str) -> Support:
    """The same on (context, output) texts, those of `output_words`.

    The space is fitted on the neighbours and on the contexts of all other texts, each once. A fit
    on their outputs would favour prompts that have many, and held-out prompts have another number
    of them than those that are tested.
    """
    reference = feedback_of(case)
    texts, rows = output_words(reference, "feedback")
    by_row = prompts_of(reference)
    prompts = [by_row[row] for row in rows]
    near, held_out = split_prompts(prompts, case.rng(purpose), texts)
    rest = np.ones(len(texts), dtype=np.bool_)
    rest[near] = False
    placed = [*(texts[row] for row in np.flatnonzero(rest)), *chain(*others.values())]
    fitted = [*(texts[row] for row in near), *{text.partition("\n")[0] for text in placed}]
    space = Space(fitted, embedder=embedder(case), seed=case.seed)
    ends = np.cumsum([len(texts), *map(len, others.values())])
    vectors = np.split(space.place([*texts, *chain(*others.values())]), ends[:-1])
    tested = dict(zip(others, vectors[1:], strict=True))
    return Support(vectors[0], tested, near, held_out, len(set(prompts)))
