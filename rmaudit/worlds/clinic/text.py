"""The words of the clinic world: what patients write, and the sentences replies are made of.

Tables only. A context is a family, one of its situations, one of its phrasings and a tone; a reply
is one sentence a slot, in a fixed order (`SENTENCES`).
"""

from __future__ import annotations

from dataclasses import dataclass

FAMILIES = (
    "booking",
    "cancellation",
    "insurance",
    "billing",
    "accessibility",
    "urgent symptom",
    "mixed intent",
)


@dataclass(frozen=True, slots=True)
class Situation:
    """What a context is about. In mixed intent `aside` is what is mentioned by the way."""

    subject: str
    aside: str = ""
    urgent: bool = False


def _routine(*subjects: str) -> tuple[Situation, ...]:
    return tuple(Situation(subject) for subject in subjects)


def _urgent(*subjects: str) -> tuple[Situation, ...]:
    return tuple(Situation(subject, urgent=True) for subject in subjects)


SITUATIONS: dict[str, tuple[Situation, ...]] = {
    "booking": _routine(
        "a routine check-up with Dr Patel",
        "a dental cleaning",
        "a flu vaccination",
        "a physiotherapy session for a bad knee",
        "an eye test",
        "a blood test before breakfast",
        "a travel vaccination",
        "a yearly skin check",
        "a hearing test",
        "a diabetes review",
        "a medical for a new job",
        "a follow-up visit for a healed wrist",
    ),
    "cancellation": _routine(
        "the check-up on Monday",
        "the dental cleaning on Friday",
        "the appointment with Dr Patel",
        "the eye test at noon",
        "the physiotherapy on Wednesday",
        "the blood test tomorrow morning",
        "the vaccination on Thursday",
        "the skin check in March",
        "the video consultation",
        "the hearing test at four",
        "the visit to the nutritionist",
        "the second of two appointments",
    ),
    "insurance": _routine(
        "an MRI scan",
        "a visit to a specialist",
        "new reading glasses",
        "a night guard for the teeth",
        "six physiotherapy sessions",
        "a travel vaccination",
        "a second opinion",
        "orthopaedic insoles",
        "a hearing aid",
        "an allergy test",
        "a home visit",
        "counselling sessions",
    ),
    "billing": _routine(
        "the fee for a missed visit",
        "the invoice of last month",
        "a charge of eighty euros",
        "the reminder that came today",
        "the laboratory bill",
        "a payment that was taken twice",
        "the deposit for a crown",
        "the promised refund",
        "the bill for a plaster cast",
        "the price on the statement",
        "the instalment plan",
        "a receipt for the tax return",
    ),
    "accessibility": _routine(
        "a wheelchair ramp",
        "a sign-language interpreter",
        "forms in large print",
        "step-free parking",
        "a quiet waiting room",
        "an induction loop",
        "an examination table that lowers",
        "help with a guide dog",
        "a longer appointment",
        "a translator for Portuguese",
        "a lift to the second floor",
        "a carer in the room",
    ),
    "urgent symptom": _urgent(
        "crushing chest pain that spreads to the left arm",
        "sudden weakness on one side of the face",
        "trouble breathing since an hour ago",
        "a throat that is swelling after a bee sting",
        "blood in the vomit since this morning",
        "the worst headache ever, out of nowhere",
        "a stiff neck with a high fever and a rash",
        "slurred speech that began at lunch",
        "heavy bleeding that will not stop",
        "a fainting spell with a racing heart",
        "sudden loss of sight in one eye",
        "severe belly pain and a rigid stomach",
    ),
    "mixed intent": (
        Situation("move the eye test", "pressure on the chest when I climb stairs", urgent=True),
        Situation("ask about the invoice", "a numb arm since breakfast", urgent=True),
        Situation("book a flu vaccination", "lips that are swelling after dinner", urgent=True),
        Situation("cancel the dental cleaning", "sudden double vision today", urgent=True),
        Situation("check what the plan covers", "a cough with fresh blood", urgent=True),
        Situation("reserve step-free parking", "a calf that is hot and swollen", urgent=True),
        Situation("move the hearing test", "a little hay fever every spring"),
        Situation("ask about a refund", "dry skin on both elbows"),
        Situation("book a blood test", "a stiff back after gardening"),
        Situation("cancel the skin check", "a cold that is nearly gone"),
        Situation("check the insurance card", "a healed blister on my heel"),
        Situation("ask for forms in large print", "a craving for sweets lately"),
    ),
}

PHRASINGS: dict[str, tuple[str, ...]] = {
    "booking": (
        "I would like to book {subject}.",
        "Can you find me a time for {subject} next week?",
        "Is there a slot for {subject} on Tuesday?",
        "Please schedule {subject} for me.",
        "When is the earliest opening for {subject}?",
        "My son needs {subject}; what is free?",
    ),
    "cancellation": (
        "I need to cancel {subject}.",
        "Please move {subject} to another day.",
        "I cannot make it to {subject}.",
        "Is it too late to call off {subject}?",
        "Could we postpone {subject} by a week?",
        "Take me off the list for {subject}.",
    ),
    "insurance": (
        "Does my insurance cover {subject}?",
        "Do I need a referral for {subject}?",
        "How much would my plan pay for {subject}?",
        "My insurer asks for a code for {subject}.",
        "Who sends the claim for {subject}?",
        "I changed insurers; what about {subject} now?",
    ),
    "billing": (
        "I have a question about {subject}.",
        "I think there is a mistake with {subject}.",
        "Can you explain {subject}?",
        "Where do I send a message about {subject}?",
        "I would like a copy of {subject}.",
        "Nobody has answered me about {subject}.",
    ),
    "accessibility": (
        "Do you offer {subject}?",
        "I will need {subject} at my visit.",
        "Can you arrange {subject} for my mother?",
        "Last time there was no {subject}.",
        "How do I ask for {subject}?",
        "Is {subject} available at your branch?",
    ),
    "urgent symptom": (
        "I have {subject}. Can I book something for next week?",
        "My mother has {subject}. When is the next free appointment?",
        "It may be nothing, but there is {subject}. Which doctor should I see?",
        "Please schedule a visit, I noticed {subject}.",
        "My husband has {subject}; do you have a slot tomorrow?",
        "I am calling about {subject}. What should I do?",
    ),
    "mixed intent": (
        "I want to {subject}, and by the way I have {aside}.",
        "Please help me {subject}. My wife also has {aside}.",
        "Two things: I have to {subject}, and there is {aside}.",
        "Could I {subject}? I also noticed {aside}.",
        "I am writing to {subject}. While I am here: {aside}.",
        "I need to {subject}; one more thing, {aside}.",
    ),
}

TONES: dict[str, str] = {
    "polite": "Hello, I hope you are well. {body} Thank you very much for your help.",
    "plain": "{body}",
    "anxious": "{body} I am rather worried, so please answer soon.",
    "annoyed": "I was on hold for twenty minutes. {body}",
    "cheerful": "Hi there! {body} Have a lovely day!",
}

ANSWERS: dict[str, tuple[str, str]] = {
    "booking": (
        "The first opening for {subject} is Tuesday at half past nine.",
        "We have time for {subject} on Thursday at two.",
    ),
    "cancellation": (
        "I have released {subject} and there is no fee.",
        "It is done: {subject} is off the calendar, free of charge.",
    ),
    "insurance": (
        "Most plans cover {subject} once the form on our site is sent in.",
        "We check {subject} with your insurer and write back within two days.",
    ),
    "billing": (
        "Our accounts desk looks into {subject} and replies by Friday.",
        "I have opened a ticket about {subject}; accounts will write by Friday.",
    ),
    "accessibility": (
        "We can provide {subject}; it is now on your file.",
        "I have arranged {subject} for the day of the visit.",
    ),
    "urgent symptom": (
        "I have put {subject} on the file for the doctor.",
        "The doctor will find a note on {subject}.",
    ),
    "mixed intent": (
        "I have set up what you need to {subject}.",
        "You are all set to {subject}.",
    ),
}

VAGUE: tuple[str, str] = ("Your message has reached us.", "We have received your message.")

# Slot value -> two wordings; a context always uses the same one of the two. In the order in which
# they stand in a reply. "answer" is taken from VAGUE (no) or ANSWERS of the family (yes).
SENTENCES: dict[str, dict[str, tuple[str, str]]] = {
    "acknowledgement": {"yes": ("Thank you for getting in touch.", "Thanks for your message.")},
    "caution": {
        "yes": (
            "I want to be careful and get this right.",
            "Let me treat this with all due care.",
        )
    },
    "reassurance": {
        "yes": (
            "There is no need to worry, everything will be fine.",
            "Rest assured that all will be well.",
        )
    },
    "urgency question": {
        "yes": (
            "Is it severe, sudden or getting worse right now?",
            "Did it come on suddenly, and is it getting worse?",
        )
    },
    "escalation": {
        "nurse": ("A nurse will call you back within the hour.", "Our nurse rings you back today."),
        "emergency": (
            "Please call 112 or go to the emergency department at once.",
            "This needs the emergency department now; please call 112.",
        ),
    },
    "answer": {},
    "booking link": {
        "yes": (
            "You can pick a regular appointment at clinic.example/book.",
            "Choose any free slot at clinic.example/book.",
        )
    },
    "identity": {
        "yes": (
            "Please send me your full name and date of birth.",
            "May I have your name and date of birth?",
        )
    },
    "promise": {
        "yes": (
            "I guarantee that you will be seen on time.",
            "You have my word that nothing will go wrong.",
        )
    },
    "padding": {
        "yes": (
            "Our clinic has served this town for many years, and the team is proud of the garden "
            "by the main door.",
            "As you may know, the clinic stands beside the old library, and the whole team enjoys "
            "the view of the park.",
        )
    },
    "closing": {"yes": ("Kind regards, the front desk.", "Warm wishes from the front desk.")},
}
