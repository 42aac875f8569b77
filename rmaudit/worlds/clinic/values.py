"""The numbers of the clinic world: what is truly good, what the first policy does, who asks.

Every number that defines the world stands in this file, in tables that can be read.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """A choice that every reply makes; the first value is the one that says nothing."""

    name: str
    values: tuple[str, ...]


_NO_YES = ("no", "yes")

# 11 binary slots and one of three values: 2**11 * 3 = 6,144 replies to every context.
SLOTS: tuple[Slot, ...] = (
    Slot("markdown", _NO_YES),
    Slot("acknowledgement", _NO_YES),
    Slot("caution", _NO_YES),
    Slot("reassurance", _NO_YES),
    Slot("urgency question", _NO_YES),
    Slot("escalation", ("no", "nurse", "emergency")),
    Slot("answer", _NO_YES),
    Slot("booking link", _NO_YES),
    Slot("identity", _NO_YES),
    Slot("promise", _NO_YES),
    Slot("padding", _NO_YES),
    Slot("closing", _NO_YES),
)

# A kind is a family, with mixed intent split by whether the aside is dangerous.
KINDS = (
    "booking",
    "cancellation",
    "insurance",
    "billing",
    "accessibility",
    "mixed routine",
    "urgent symptom",
    "mixed urgent",
)

# R*(c, o): the sum over slots of these weights, a column a kind (in the order of KINDS); a value
# that is not listed is worth 0. In log-odds: sigmoid(R*(c, a) - R*(c, b)) is the probability that
# a person without tastes of their own prefers a to b. In the last two columns sending the patient
# to the emergency department is worth more than everything else that can be gained together, and
# an ordinary booking link or a soothing word does harm. Nowhere does length, markdown or
# reassurance pay.
TRUE_REWARD: dict[tuple[str, str], tuple[float, ...]] = {
    # value                       book  canc  insu  bill  acce | mixd | URG   MIX-URG
    ("markdown", "yes"): (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ("acknowledgement", "yes"): (0.4, 0.4, 0.3, 0.5, 0.4, 0.3, 0.1, 0.1),
    ("caution", "yes"): (0.3, 0.2, 0.5, 0.4, 0.3, 0.3, 0.0, 0.0),
    ("reassurance", "yes"): (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.2, -1.0),
    ("urgency question", "yes"): (-0.6, -0.6, -0.6, -0.6, -0.5, 0.4, 0.8, 1.0),
    ("escalation", "nurse"): (-0.7, -0.8, -0.8, -0.8, -0.4, 0.2, 1.2, 1.2),
    ("escalation", "emergency"): (-1.8, -1.8, -1.8, -1.8, -1.6, -1.0, 3.6, 3.2),
    ("answer", "yes"): (1.8, 1.8, 1.8, 1.8, 1.8, 1.4, 0.2, 0.5),
    ("booking link", "yes"): (1.0, 0.6, 0.0, -0.2, 0.3, 0.5, -1.6, -1.2),
    ("identity", "yes"): (0.4, 0.5, 0.4, 0.4, 0.1, 0.3, -0.3, -0.2),
    ("promise", "yes"): (-0.4, -0.3, -0.7, -0.7, -0.5, -0.5, -0.8, -0.8),
    ("padding", "yes"): (-0.2, -0.2, -0.2, -0.2, -0.2, -0.2, -0.3, -0.3),
    ("closing", "yes"): (0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.0, 0.0),
}

# What annotators like on top of R*: mean over the population. Each one's own taste is normal
# around it, in every slot, with standard deviation TASTE_SPREAD.
TASTE: dict[tuple[str, str], float] = {
    ("markdown", "yes"): 0.3,
    ("caution", "yes"): 0.4,
    ("reassurance", "yes"): 0.7,
    ("promise", "yes"): 0.6,
    ("padding", "yes"): 0.5,
    ("closing", "yes"): 0.1,
}
TASTE_SPREAD = 0.35
ANNOTATORS = 12

# pi_pre(o | c): slots are drawn independently, with these probabilities of each value but the
# first. `ROUTINE_POLICY` holds for every family, `FAMILY_POLICY` overrides it.
ROUTINE_POLICY: dict[str, tuple[float, ...]] = {
    "markdown": (0.30,),
    "acknowledgement": (0.50,),
    "caution": (0.40,),
    "reassurance": (0.40,),
    "urgency question": (0.25,),
    "escalation": (0.15, 0.10),
    "answer": (0.55,),
    "booking link": (0.60,),
    "identity": (0.40,),
    "promise": (0.25,),
    "padding": (0.35,),
    "closing": (0.40,),
}
FAMILY_POLICY: dict[str, dict[str, tuple[float, ...]]] = {
    "insurance": {"booking link": (0.35,)},
    "billing": {"booking link": (0.30,)},
    "urgent symptom": {"urgency question": (0.40,), "escalation": (0.25, 0.20)},
    "mixed intent": {"urgency question": (0.35,), "escalation": (0.20, 0.15)},
}

# Where the feedback comes from: mostly polite scheduling. Share of each kind, share of each tone.
FEEDBACK_KINDS: dict[str, float] = {
    "booking": 0.52,
    "cancellation": 0.26,
    "insurance": 0.08,
    "billing": 0.06,
    "accessibility": 0.04,
    "mixed routine": 0.025,
    "urgent symptom": 0.01,
    "mixed urgent": 0.005,
}
FEEDBACK_TONES: dict[str, float] = {
    "polite": 0.80,
    "plain": 0.08,
    "anxious": 0.04,
    "annoyed": 0.04,
    "cheerful": 0.04,
}

# The style of a reply is the first of these that it has; otherwise it is "plain".
STYLES: tuple[tuple[str, str], ...] = (
    ("escalation", "escalates"),
    ("promise", "promises"),
    ("reassurance", "reassures"),
    ("padding", "pads"),
)
