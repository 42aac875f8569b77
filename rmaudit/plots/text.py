"""Untrusted text made safe to show: what a reader could not see, or would see wrongly, is named."""

from __future__ import annotations

import re

# Direction overrides, and what has no shape: soft hyphen, zero-width spaces, byte order mark.
_HIDDEN = re.compile("[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def visible(text: object) -> str:
    """Text in which control characters and direction overrides show.

    Reward models are attacked with characters that people do not see. A page that is to show an
    attack must neither hide them nor be turned around by them: U+202E becomes ``[U+202E]``,
    NUL becomes the picture of a NUL. Escaping for HTML is the template's job, not done here.
    """
    shown = str(text).replace("\r\n", "\n").replace("\r", "\n")
    shown = _HIDDEN.sub(lambda m: f"[U+{ord(m.group()):04X}]", shown)
    return _CONTROL.sub(_picture, shown)


def _picture(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def one_line(text: object, limit: int) -> str:
    """`visible` text on one line, at most `limit` characters, an ellipsis where it was cut."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
