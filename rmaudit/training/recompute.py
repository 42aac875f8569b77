"""Gradient checkpointing of models that stay in evaluation mode.

transformers recomputes layers in training mode alone, which would switch dropout on. Here the
layers are told so for the length of a forward pass, and nothing inside them is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rmaudit.errors import UsageError


def enable(model: Any, name: str) -> None:
    """Have a model recompute its layers' activations in the backward pass, within `recomputing`.

    Raises
    ------
    UsageError
        If the architecture cannot.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not getattr(inner, "supports_gradient_checkpointing", False) or not _layers(inner):
        raise UsageError(f"{name}: {type(inner).__name__} has no layers that can be recomputed")
    # The second name is that of transformers before 5.9.
    newer = getattr(inner, "activation_checkpointing_enable", None)
    (newer or inner.gradient_checkpointing_enable)({"use_reentrant": False})
    for layer in _layers(inner):
        for attribute, value in vars(layer).items():
            if "dropout" in attribute and isinstance(value, float):
                setattr(layer, attribute, 0.0)


@contextmanager
def recomputing(model: Any) -> Iterator[None]:
    """Layers of a forward pass keep no activations, where `enable` was called; else nothing."""
    layers = [layer for layer in _layers(model) if layer.gradient_checkpointing]
    for layer in layers:
        layer.training = True  # of the layer alone: what it is made of stays as it is
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False


def _layers(model: Any) -> list[Any]:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
