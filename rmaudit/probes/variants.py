"""One probe on one (prompt, output)."""

from __future__ import annotations

from rmaudit.data.types import Prompt
from rmaudit.probes.schema import ProbeEntry
from rmaudit.probes.texts import request_of, with_request
from rmaudit.probes.transforms import Subject, find_transform


def variant(
    entry: ProbeEntry, prompt: Prompt, output: str, *, other: str = "", seed: int = 0
) -> tuple[Prompt, str] | None:
    """The changed prompt and output; None where the probe does not apply.

    Parameters
    ----------
    entry
        A probe of a loaded suite: its transform exists and its parameters are checked.
    prompt, output
        Only the one that the probe acts on changes: of a prompt, its last turn.
    other
        An output to another prompt.
    seed
        The same seed gives the same variant.
    """
    transform = find_transform(entry.transform)
    request = request_of(prompt)
    acts_on_prompt = entry.acts_on == "prompt"
    if acts_on_prompt and not request.strip():
        return None
    text = request if acts_on_prompt else output
    changed = transform.apply(
        Subject(text, request, other), seed, transform.check(entry.parameters)
    )
    if changed is None:
        return None
    return (with_request(prompt, changed), output) if acts_on_prompt else (prompt, changed)
