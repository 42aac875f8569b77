"""Position embeddings that depend on how long a text is: which texts may share a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LengthRule:
    """Longer than `threshold` tokens, a text's length decides about its position embeddings.

    transformers computes them for the longest text of a batch ("longrope" switches to other
    factors, "dynamic" stretches with the length), and "dynamic" keeps those of the longest text
    seen. A text above the threshold therefore shares a batch with texts of its own length only,
    and what was kept is forgotten before.
    """

    threshold: int | None = None  # tokens; None: the length decides nothing

    @classmethod
    def of(cls, model: Any) -> LengthRule:
        """The rule of a transformers model."""
        config = model.config.get_text_config()
        limits = []
        for rope in _ropes(getattr(config, "rope_parameters", None)):
            if any(kind in str(rope.get("rope_type")) for kind in ("dynamic", "longrope")):
                first = rope.get("original_max_position_embeddings")
                first = first or getattr(config, "original_max_position_embeddings", None)
                limits.append(int(first or config.max_position_embeddings))
        return cls(min(limits, default=None))

    @property
    def depends(self) -> bool:
        """Whether there is a length from which on it decides."""
        return self.threshold is not None

    def decides(self, tokens: int) -> bool:
        """Whether it does for a text of so many tokens."""
        return self.threshold is not None and tokens > self.threshold

    def reset(self, model: Any) -> None:
        """Forget the frequencies of the longest text seen, as a freshly loaded model has them."""
        for module in model.modules():
            if not hasattr(module, "original_max_seq_len"):
                continue
            for name in [n for n in vars(module) if n.endswith("max_seq_len_cached")]:
                prefix = name.removesuffix("max_seq_len_cached")
                original = getattr(module, f"{prefix}original_inv_freq", None)
                if original is not None and hasattr(module, f"{prefix}inv_freq"):
                    current = getattr(module, f"{prefix}inv_freq")
                    setattr(module, f"{prefix}inv_freq", original.to(current.device))
                    setattr(module, name, module.original_max_seq_len)


def _ropes(parameters: Any) -> Iterator[Mapping[str, Any]]:
    """Rotary settings: one for all layers, or one for each type of layer."""
    if not isinstance(parameters, Mapping):
        return
    if "rope_type" in parameters:
        yield parameters
    for each in parameters.values():
        if isinstance(each, Mapping) and "rope_type" in each:
            yield each
