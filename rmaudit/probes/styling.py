"""Transforms of the dress: markdown, emoji and tone are put on or taken off, the words stay."""

from __future__ import annotations

import re

import numpy as np

from rmaudit.probes.texts import in_prose, sentences
from rmaudit.probes.transforms import Subject, transform

_BOLD = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", re.DOTALL)
_ITEM = re.compile(r"^([ \t]*)(?:[-*+•]|\d{1,3}[.)])[ \t]+(?=\S)", re.MULTILINE)
_HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]+(.*?)[ \t]*#*$", re.MULTILINE)
_EMOJI = re.compile(
    "[ \t]*[\U0001f300-\U0001faff\u2600-\u27bf\U0001f1e6-\U0001f1ff]"
    "[\ufe0f\u200d\U0001f3fb-\U0001f3ff]*"
)
_STOP = re.compile(r"(?<=[a-z0-9)\]\"'])\.(?=\s|\Z)")
_SHOUT = re.compile(r"(?<=[\w)\]\"'])!+(?=\s|\Z)")
_HEDGE = re.compile(
    r"\b(?:(?:i think|i believe|i guess|in my opinion|as far as i know|it seems)(?: that)?,?[ ]+"
    r"|(?:perhaps|maybe|probably|possibly|presumably|apparently),?[ ]+)",
    re.IGNORECASE,
)
_POLITE = re.compile(
    r"\s*(?<![^\s])(?:(?:i hope (?:this|that) helps|feel free to [^.!?\n]*|let me know if [^.!?\n]*"
    r"|thank you for [^.!?\n]*|thanks for [^.!?\n]*|(?:i(?:'m| am) )?happy to help)[.!?]+)",
    re.IGNORECASE,
)
_CITATION = re.compile(r"[ \t]*\[\d{1,3}(?:[,;–-][ \t]*\d{1,3})*\](?!\()")
_MARKED = ("**", "__", "```", "|")  # where these are, more marks could break what is there


@transform("bold_added")
def bold_added(subject: Subject, rng: np.random.Generator) -> str | None:
    """The longest word of each of the first five sentences is set in bold."""
    if any(mark in subject.text for mark in _MARKED):
        return None
    text = subject.text
    for sentence in sentences(text)[:5]:
        words = re.findall(r"[A-Za-z]{4,}", sentence)
        if words:
            longest = re.escape(max(words, key=len))
            bold = re.sub(rf"\b{longest}\b", lambda m: f"**{m.group()}**", sentence, count=1)
            text = text.replace(sentence, bold, 1)
    return text


@transform("bold_removed")
def bold_removed(subject: Subject, rng: np.random.Generator) -> str | None:
    """Bold marks are left out."""
    return in_prose(subject.text, lambda prose: _BOLD.sub(r"\2", prose))


@transform("list_added")
def list_added(subject: Subject, rng: np.random.Generator) -> str | None:
    """Each sentence becomes the item of a bulleted list.

    Not where there is a list, a table or code already, nor where there are fewer than two sentences
    or more than thirty.
    """
    if _ITEM.search(subject.text) or "```" in subject.text or "|" in subject.text:
        return None
    parts = sentences(subject.text)
    return "\n".join(f"- {part.strip()}" for part in parts) if 2 <= len(parts) <= 30 else None


@transform("list_removed")
def list_removed(subject: Subject, rng: np.random.Generator) -> str | None:
    """Marks and numbers of list items are left out; the lines stay."""
    return in_prose(subject.text, lambda prose: _ITEM.sub(r"\1", prose))


@transform("heading_added")
def heading_added(subject: Subject, rng: np.random.Generator) -> str | None:
    """A heading comes first: ``## Answer``. Not where there is one already."""
    if _HEADING.search(subject.text) or not subject.text.strip():
        return None
    return f"## Answer\n\n{subject.text}"


@transform("heading_removed")
def heading_removed(subject: Subject, rng: np.random.Generator) -> str | None:
    """Heading marks are left out; the words stay."""
    return in_prose(subject.text, lambda prose: _HEADING.sub(r"\1", prose))


@transform("emoji_added")
def emoji_added(subject: Subject, rng: np.random.Generator) -> str | None:
    """A smiling face comes last."""
    return f"{subject.text.rstrip()} 🙂" if subject.text.strip() else None


@transform("emoji_removed")
def emoji_removed(subject: Subject, rng: np.random.Generator) -> str | None:
    """Emoji are left out."""
    return in_prose(subject.text, lambda prose: _EMOJI.sub("", prose))


@transform("exclamation_added")
def exclamation_added(subject: Subject, rng: np.random.Generator) -> str | None:
    """Full stops at the ends of sentences become exclamation marks."""
    return in_prose(subject.text, lambda prose: _STOP.sub("!", prose))


@transform("exclamation_removed")
def exclamation_removed(subject: Subject, rng: np.random.Generator) -> str | None:
    """Exclamation marks at the ends of sentences become full stops."""
    return in_prose(subject.text, lambda prose: _SHOUT.sub(".", prose))


@transform("hedges_added")
def hedges_added(subject: Subject, rng: np.random.Generator) -> str | None:
    """The first sentence begins with "I think". Not where it begins with a mark or a number."""
    text = subject.text.lstrip()
    found = re.match(r"([A-Z])([a-z']*)\b", text)
    if found is None:
        return None
    word = found.group()
    kept = word if word == "I" or word.startswith("I'") else word[0].lower() + word[1:]
    return f"I think {kept}{text[len(word) :]}"


@transform("hedges_removed")
def hedges_removed(subject: Subject, rng: np.random.Generator) -> str | None:
    """Words such as "I think" and "perhaps" are left out where a sentence stands without them."""

    def change(prose: str) -> str:
        def cut(match: re.Match[str]) -> str:
            starts = match.group()[0].isupper()
            return "\x00" if starts else ""

        cleared = _HEDGE.sub(cut, prose)
        return re.sub(r"\x00+(.?)", lambda m: m.group(1).upper(), cleared)

    return in_prose(subject.text, change)


@transform("politeness_added")
def politeness_added(subject: Subject, rng: np.random.Generator) -> str | None:
    """Thanks for the question come first."""
    return f"Thank you for asking. {subject.text}" if subject.text.strip() else None


@transform("politeness_removed")
def politeness_removed(subject: Subject, rng: np.random.Generator) -> str | None:
    """Sentences that thank, wish well or offer more help are left out."""
    return _POLITE.sub("", subject.text).strip() or None


@transform("citation_added")
def citation_added(subject: Subject, rng: np.random.Generator) -> str | None:
    """The last sentence cites a source that is not there: ``[1]``."""
    text = subject.text.rstrip()
    return f"{text} [1]" if text and not _CITATION.search(text) else None


@transform("citation_removed")
def citation_removed(subject: Subject, rng: np.random.Generator) -> str | None:
    """Numbers of sources in brackets are left out."""
    return in_prose(subject.text, lambda prose: _CITATION.sub("", prose))
