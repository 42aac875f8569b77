"""Other feedback than pairs, from the clinic: ratings, rankings, and critiques in words.

All of it is drawn as `ClinicWorld.draw_feedback` draws preferences: contexts of the narrow feedback
distribution, outputs of pi_pre, one annotator a row who judges by R* plus a taste of their own. So
types of feedback can be compared at equal cost.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from rmaudit.errors import UsageError
from rmaudit.typing import Float, Integers
from rmaudit.worlds.clinic import values
from rmaudit.worlds.clinic.world import ClinicWorld

RATING_NOISE = 1.0  # SD of a rating around what its annotator thinks, in log-odds
WORTH_NAMING = 0.3  # a critique names what would have made a reply better by more than this
_SIZES = tuple(len(slot.values) for slot in values.SLOTS)


def draw_ratings(world: ClinicWorld, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Ratings of single replies.

    Returns
    -------
    Columns id, prompt, output, rating (R* plus taste plus noise), family, subset, context,
    output_index.
    """
    contexts, outputs = _draw(world, n, 1, rng)
    frame = _single(world, "rating", contexts, outputs[:, 0])
    opinion = _opinions(world, contexts, outputs, rng)[:, 0]
    frame["rating"] = opinion + RATING_NOISE * rng.standard_normal(n)
    return frame


def draw_rankings(world: ClinicWorld, n: int, k: int, rng: np.random.Generator) -> pd.DataFrame:
    """Rankings of k replies, drawn from Plackett-Luce on what their annotator thinks.

    Returns
    -------
    Columns id, prompt, outputs, ranking (1 is best), family, subset, context, output_indices.

    Raises
    ------
    UsageError
        If k is below 2.
    """
    if k < 2:
        raise UsageError(f"a ranking needs at least 2 outputs, not {k}")
    contexts, outputs = _draw(world, n, k, rng)
    # Opinions plus Gumbel noise, in descending order, are a draw from Plackett-Luce.
    noisy = _opinions(world, contexts, outputs, rng) + rng.gumbel(size=outputs.shape)
    frame = _rows(world, "ranking", contexts)
    frame["outputs"] = [
        [world.output_text(int(c), int(o)) for o in row]
        for c, row in zip(contexts, outputs, strict=True)
    ]
    frame["ranking"] = ((-noisy).argsort(axis=1).argsort(axis=1) + 1).tolist()
    frame["output_indices"] = outputs.tolist()
    return frame


def draw_critiques(world: ClinicWorld, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Ratings with a critique in words, which names what would have made the reply better.

    Returns
    -------
    The columns of `draw_ratings`; critique (text), and missing (list of names: what `read_critique`
    finds in the text).
    """
    frame = draw_ratings(world, n, rng)
    contexts = frame["context"].to_numpy()
    outputs = frame["output_index"].to_numpy()
    frame["critique"] = [
        write_critique(world, int(c), int(o)) for c, o in zip(contexts, outputs, strict=True)
    ]
    frame["missing"] = [read_critique(text) for text in frame["critique"]]
    return frame


def write_critique(world: ClinicWorld, context: int, output: int) -> str:
    """What a person says of a reply: a sentence for each change of a slot worth naming.

    The changes are those that raise R* by more than `WORTH_NAMING`, the most valuable first.
    """
    digits = np.array(np.unravel_index(output, _SIZES))
    reward = world.true_reward_table(context)
    gains: list[tuple[float, str]] = []
    for number, slot in enumerate(values.SLOTS):
        changed = np.repeat(digits[:, None], len(slot.values), axis=1)  # (n_slots, n_values)
        changed[number] = np.arange(len(slot.values))
        worth = reward[np.ravel_multi_index(tuple(changed), _SIZES)] - reward[output]
        best = int(worth.argmax())
        if worth[best] > WORTH_NAMING:
            gains.append((float(worth[best]), _SENTENCES[slot.name, slot.values[best]]))
    ordered = sorted(gains, key=lambda gain: (-gain[0], gain[1]))
    return " ".join(sentence for _, sentence in ordered) or _FINE


def read_critique(text: str) -> list[str]:
    """Names of what a critique asks for, such as "escalation: emergency", in slot order."""
    return [f"{slot}: {value}" for (slot, value), said in _SENTENCES.items() if said in text]


_FINE = "Nothing is missing."


def _sentence(slot: str, value: str) -> str:
    if value == "no":
        return f"It should leave out the {slot}."
    return f"It should have the {slot}." if value == "yes" else f"It should send for the {value}."


_SENTENCES = {
    (slot.name, value): _sentence(slot.name, value)
    for slot in values.SLOTS
    for value in slot.values
}


def _draw(
    world: ClinicWorld, n: int, k: int, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Contexts, (n,), and k replies of pi_pre to each, (n, k)."""
    contexts = rng.choice(world.n_contexts, n, p=world.feedback_distribution)
    outputs = np.empty((n, k), dtype=np.int64)
    families = world.contexts["family"].to_numpy()[contexts]
    for family in np.unique(families):  # pi_pre is the same for all contexts of a family
        rows = families == family
        probability = np.exp(world.log_policy(int(contexts[rows][0])))
        outputs[rows] = rng.choice(world.n_outputs, (int(rows.sum()), k), p=probability)
    return contexts, outputs


def _opinions(
    world: ClinicWorld, contexts: Integers, outputs: Integers, rng: np.random.Generator
) -> Float:
    """What one annotator a row thinks of its outputs, (n, k), log-odds."""
    people = rng.integers(len(world.annotators), size=len(contexts))
    opinions: Float = (
        world.true_reward(contexts[:, None], outputs) + world.tastes[people[:, None], outputs]
    )
    return opinions


def _rows(world: ClinicWorld, name: str, contexts: Integers) -> pd.DataFrame:
    rows = world.contexts.iloc[contexts].reset_index(drop=True)
    return pd.DataFrame(
        {
            "id": [f"{name}-{i:05d}" for i in range(len(contexts))],
            "prompt": rows["prompt"],
            "family": rows["family"],
            "subset": rows["family"],
            "context": contexts,
        }
    )


def _single(world: ClinicWorld, name: str, contexts: Integers, outputs: Integers) -> pd.DataFrame:
    frame = _rows(world, name, contexts)
    pairs = zip(contexts, outputs, strict=True)
    frame["output"] = [world.output_text(int(c), int(o)) for c, o in pairs]
    frame["output_index"] = outputs
    return frame
