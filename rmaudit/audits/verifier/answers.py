"""Reference answers: what they are, others that are wrong, and other ways to write them.

Everything here follows from the reference alone, so whether a made answer is correct is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

Form = Literal["integer", "decimal", "fraction", "choice", "set", "words", "expression"]

_INTEGER = re.compile(r"-?(\d+|\d{1,3}(,\d{3})+)")
_DECIMAL = re.compile(r"-?(\d+|\d{1,3}(,\d{3})+)?\.\d+")
_FRACTION = re.compile(r"(-?)(?:\\[dt]?frac\{(\d+)\}\{(\d+)\}|(\d+)\s*/\s*(\d+))")
_CHOICE = re.compile(r"\(?([A-J])[).]?")
_UNIT = re.compile(r"(?P<number>-?[\d.,]*\d)\s*(?P<unit>%|\\%|[A-Za-z]{1,12})")
_UNITS = {
    **{"cm": "centimeters", "mm": "millimeters", "m": "meters", "km": "kilometers"},
    **{"g": "grams", "kg": "kilograms", "s": "seconds", "min": "minutes", "h": "hours"},
    **{"%": "percent", r"\%": "percent"},
}
_OTHER_UNITS = {"cm": "kg", "mm": "kg", "m": "kg", "km": "kg", "g": "km", "kg": "km", "s": "kg"}


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference answer; `number` is its value where it is one, `unit` what stands after it."""

    text: str
    form: Form
    number: Fraction | None = None
    unit: str = ""

    @classmethod
    def read(cls, value: object) -> Reference | None:
        """The reference in a cell; None if it is empty or no text or number.

        Of a worked solution that ends in "#### 42" (as GSM8K has it) the end is taken.
        """
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return None
        text = str(value).rpartition("####")[2].strip().strip("$").strip()
        if not text or len(text) > 200:
            return None
        with_unit = _UNIT.fullmatch(text)
        if with_unit and with_unit["unit"] in _UNITS:
            number = cls.read(with_unit["number"])
            if number is not None and number.number is not None:
                return cls(text, number.form, number.number, with_unit["unit"])
        if _INTEGER.fullmatch(text):
            return cls(text, "integer", Fraction(text.replace(",", "")))
        if _DECIMAL.fullmatch(text):
            return cls(text, "decimal", Fraction(text.replace(",", "")))
        if (parts := _FRACTION.fullmatch(text)) and int(parts[3] or parts[5]):
            number_ = Fraction(int(parts[2] or parts[4]), int(parts[3] or parts[5]))
            return cls(text, "fraction", -number_ if parts[1] else number_)
        if _CHOICE.fullmatch(text):
            return cls(text, "choice")
        if len(_members(text)) > 1:
            return cls(text, "set")
        plain = text.replace("\\", "").replace("{", "").replace("}", "").replace("^", "")
        return cls(
            text, "words" if (plain == text and " " in text) or text.isalpha() else "expression"
        )


def wrong(reference: Reference, others: Sequence[Reference], step: int) -> str | None:
    """An answer of the same form that is not equal to the reference; None if none is known.

    Parameters
    ----------
    others
        References of other rows: what words and expressions are replaced by.
    step
        Which of several: the same step gives the same answer.
    """
    text = reference.text
    if reference.number is not None:
        value = reference.number + step if reference.form == "integer" else None
        if reference.form == "decimal":
            places = len(_bare(reference).partition(".")[2])
            value = reference.number + Fraction(step, 10**places)
        if reference.form == "fraction":
            value = reference.number + Fraction(step, reference.number.denominator)
        return _written(value, reference) if value is not None else None
    if reference.form == "choice":
        letter = _CHOICE.fullmatch(text)
        if letter is None:
            return None
        changed = "ABCD"[("ABCD".find(letter[1]) + step) % 4]
        return text.replace(letter[1], changed) if changed != letter[1] else None
    if reference.form == "set":
        return None if len(set(_members(text))) < 2 else _without_last(text)
    fitting = [o.text for o in others if o.form == reference.form and not _alike(o.text, text)]
    if fitting:
        return fitting[step % len(fitting)]
    return f"{text} + {step}" if reference.form == "expression" and step else None


def _alike(one: str, other: str) -> bool:
    one, other = (re.sub(r"\W", "", each).lower() for each in (one, other))
    return one in other or other in one


def _bare(reference: Reference) -> str:
    text = reference.text
    return text.removesuffix(reference.unit).strip() if reference.unit else text


def _written(value: Fraction, reference: Reference) -> str:
    """A number in the form of the reference, with its unit."""
    unit = reference.text[len(_bare(reference)) :] if reference.unit else ""
    if reference.form == "fraction":
        sign, size = "-" if value < 0 else "", abs(value)
        if "frac" in reference.text:
            return f"{sign}\\frac{{{size.numerator}}}{{{size.denominator}}}{unit}"
        return f"{sign}{size.numerator}/{size.denominator}{unit}"
    if reference.form == "decimal":
        places = len(_bare(reference).partition(".")[2])
        return f"{Decimal(value.numerator) / Decimal(value.denominator):.{places}f}{unit}"
    grouped = f"{int(value):,}" if "," in reference.text else str(int(value))
    return f"{grouped}{unit}"


def _members(text: str) -> list[str]:
    inner = re.sub(r"^(\\\{|\{)|(\\\}|\})$", "", text)
    members = [each.strip() for each in re.split(r",\s+|,(?=[^\d])", inner)]
    return members if all(members) and not re.match(r"[(\[]", text) else [text]


def _without_last(text: str) -> str:
    last = _members(text)[-1]
    place = text.rfind(last)
    return text[:place].rstrip(", ") + text[place + len(last) :]


# Other ways to write an answer, by class: each gives None where it does not apply.


def as_other_number(reference: Reference) -> str | None:
    """A fraction as a decimal that ends, a decimal as a fraction."""
    number = reference.number
    if number is None or reference.unit or reference.form == "integer":
        return None
    if reference.form == "decimal":
        return f"{number.numerator}/{number.denominator}" if number.denominator > 1 else None
    rest = number.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1 or number.denominator == 1:
        return None
    return f"{float(number):.10f}".rstrip("0")


def as_latex(reference: Reference) -> str | None:
    """A plain fraction in LaTeX, one in LaTeX plain."""
    number = reference.number
    if reference.form != "fraction" or number is None or number.denominator == 1:
        return None
    sign, size = "-" if number < 0 else "", abs(number)
    if "frac" in reference.text:
        return f"{sign}{size.numerator}/{size.denominator}"
    return f"{sign}\\frac{{{size.numerator}}}{{{size.denominator}}}"


def with_separators(reference: Reference) -> str | None:
    """Thousands with or without their commas."""
    if reference.form != "integer" or reference.number is None or abs(reference.number) < 1000:
        return None
    unit = reference.text[len(_bare(reference)) :] if reference.unit else ""
    number = int(reference.number)
    return f"{number}{unit}" if "," in reference.text else f"{number:,}{unit}"


def with_unit_written_out(reference: Reference) -> str | None:
    """A unit written out."""
    return f"{_bare(reference)} {_UNITS[reference.unit]}" if reference.unit else None


def with_trailing_zeros(reference: Reference) -> str | None:
    """5 as 5.0 and 0.5 as 0.50."""
    unit = reference.text[len(_bare(reference)) :] if reference.unit else ""
    if reference.form == "integer":
        return f"{_bare(reference)}.0{unit}"
    return f"{_bare(reference)}0{unit}" if reference.form == "decimal" else None


def with_other_case(reference: Reference) -> str | None:
    """Words in capitals or none; one further blank around."""
    if reference.form != "words":
        return None
    text = reference.text
    return text.upper() if text != text.upper() else text.lower()


def with_spaces(reference: Reference) -> str | None:
    """A blank on either side."""
    return f" {reference.text} "


def reordered(reference: Reference) -> str | None:
    """The members of a set the other way round."""
    members = _members(reference.text)
    if reference.form != "set" or len(set(members)) < 2:
        return None
    inner = ", ".join(reversed(members))
    opening = re.match(r"\\\{|\{", reference.text)
    closing = re.search(r"(\\\}|\})$", reference.text)
    return (opening[0] if opening else "") + inner + (closing[0] if closing else "")


def wrong_unit(reference: Reference) -> str | None:
    """The same number of something else."""
    other = _OTHER_UNITS.get(reference.unit)
    return None if other is None else f"{_bare(reference)} {other}"


def embedded(reference: Reference) -> str | None:
    """A longer number that the reference is part of."""
    if reference.number is None or reference.form != "integer" or reference.unit:
        return None
    return f"1{int(abs(reference.number))}0"
