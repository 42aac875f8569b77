"""One copy of a base for all the adapters on it.

Adapters are not merged, so the base's weights are the same under each. They are read once and every
adapter gets the base's modules around the same tensors: K adapters cost the memory of one base.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any

from torch import nn

# Alive as long as a model on it is; loading from several threads would read a base twice, no more.
_BASES: weakref.WeakValueDictionary[Hashable, nn.Module] = weakref.WeakValueDictionary()
_MISSING: dict[Hashable, set[str]] = {}


def changes_its_base(settings: Mapping[str, Any]) -> bool:
    """Whether an adapter's start is taken out of the base's weights (PiSSA and its like)."""
    return settings.get("init_lora_weights") not in (None, True, False, "gaussian")


def shared_base(
    key: Hashable, load: Callable[[], tuple[Any, set[str]]], written: Collection[str] = ()
) -> tuple[Any, Any, set[str]]:
    """A base's modules of one's own, around weights that others share.

    Parameters
    ----------
    key
        Whatever decides which weights these are, and where.
    load
        Reads the base: the model, and the names of weights that its files lack. Not asked if a
        model on the same base is alive.
    written
        Names in the adapter's file; weights of the base that it writes over (trained biases,
        embeddings) are the adapter's own.

    Returns
    -------
    tuple
        The modules; what must be kept as long as they are, so that others find the base; the
        names of weights that the base's files lack, which each adapter has to bring.
    """
    base = _BASES.get(key)
    if base is None:
        base, _MISSING[key] = load()
        _BASES[key] = base
    over = {name.replace(".base_layer.", ".") for name in written}
    shared = {id(buffer): buffer for buffer in base.buffers()}
    shared |= {id(each): each for name, each in base.named_parameters() if name not in over}
    return copy.deepcopy(base, shared), base, _MISSING[key]
