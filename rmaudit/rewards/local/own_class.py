"""Which class a checkpoint was saved from, and whether it is the one that is loaded.

A reward is the model's own only if the model's own class computes it. A folder that brings its code
(`auto_map`) is scored by that code or not at all; an architecture that nobody here knows, a model
made for another task, and weights that the loaded class has no place for are refused by name.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rmaudit.errors import RewardModelError

# Weights of other heads (language models, pretraining) and buffers of older releases, which decide
# nothing about a classifier; everything else that is left out would have changed the reward.
_HARMLESS = re.compile(
    r"(^|\.)(lm_head|cls\.(predictions|seq_relationship)|lm_loss|generator_lm_head|embed_out|"
    r"discriminator_predictions|generator_predictions|mask_predictions|vocab_projector|"
    r"vocab_transform|vocab_layer_norm|pred_layer|qa_outputs|mtp|logit_scale|pooler)(\.|$)"
    r"|(^|\.)(inv_freq|position_ids|masked_bias|attn\.bias|attention\.bias|token_type_ids)$"
    r"|num_batches_tracked$"
)


def loader_of(
    folder: Path, config: Mapping[str, Any], task: str, *, trusted: bool
) -> tuple[str, str | None]:
    """Name of the auto class that loads a checkpoint's own class, and that class where it is not
    transformers' own.

    Raises
    ------
    RewardModelError
        If the class is the folder's own and its code is not trusted, or it is unknown, or it is
        made for another task.
    """
    usual = f"AutoModelFor{task}"
    names = config.get("architectures") or []
    made_for = str(names[0]) if names else None
    auto_map = config.get("auto_map")
    auto_map = auto_map if isinstance(auto_map, Mapping) else {}
    own = {name: str(ref).rpartition(".")[2] for name, ref in auto_map.items()}
    if usual in own or (made_for in own.values() and not _native(made_for)):
        loader = usual if usual in own else next(n for n, c in own.items() if c == made_for)
        if not trusted:
            raise RewardModelError(
                f"{folder}: its rewards are those of a class of its own, {own[loader]}; read its "
                "code, then say --trust-remote-code (trust_remote_code=True)"
            )
        if task == "SequenceClassification" and loader.endswith("ForTokenClassification"):
            raise _for_steps(folder, own[loader])
        return loader, own[loader]
    if made_for is not None and not _native(made_for):
        raise RewardModelError(
            f"{folder}: made for the class {made_for}, which transformers does not have and the "
            "folder brings no code for; use a release that has it, name another model, or wrap it "
            "in a function: --model python:module:callable (f(prompts, responses_a, responses_b) "
            "where it compares two responses)"
        )
    if made_for is not None:
        _refuse_other_task(folder, made_for, task)
    return usual, None


def _native(name: str | None) -> bool:
    return name is not None and hasattr(importlib.import_module("transformers"), name)


def _for_steps(folder: Path, made_for: str) -> RewardModelError:
    return RewardModelError(
        f"{folder}: is a {made_for}, which gives values of tokens; if it scores steps, say "
        f"--model prm:{folder}"
    )


def _refuse_other_task(folder: Path, made_for: str, task: str) -> None:
    """A class of another task would lose its head without a word (embeddings may be tied)."""
    if task == "CausalLM" and made_for.endswith("Classification"):
        raise RewardModelError(f"{folder}: is a {made_for}; name a language model (CausalLM)")
    if task == "SequenceClassification" and made_for.endswith("ForTokenClassification"):
        raise _for_steps(folder, made_for)


def refuse_dropped(
    folder: Path,
    unexpected: Iterable[str],
    missing: set[str],
    model: Any,
    config: Mapping[str, Any],
) -> None:
    """Weights in the file that the loaded class has no place for: another class was trained.

    Raises
    ------
    RewardModelError
        Naming them.
    """
    dropped = sorted(name for name in unexpected if not _HARMLESS.search(name))
    if not dropped:
        return
    shown = ", ".join(dropped[:3]) + (f" and {len(dropped) - 3} more" if len(dropped) > 3 else "")
    names = config.get("architectures") or ["an unnamed class"]
    lacks = f", and lacks {', '.join(sorted(missing)[:3])}" if missing else ""
    raise RewardModelError(
        f"{folder}: its weights hold {shown}{lacks}: they are of another class than "
        f"{type(model).__name__}, which would leave them out (config.json names {names[0]}); the "
        "rewards would not be the model's own"
    )


def refuse_untrained(folder: Path, missing: set[str], config: Mapping[str, Any]) -> None:
    """A head that is not in the files would be drawn at random, and so would its rewards."""
    if not missing:
        return
    lack = ", ".join(sorted(missing))
    auto_map = config.get("auto_map")
    if isinstance(auto_map, Mapping) and auto_map:
        raise RewardModelError(
            f"{folder}: its weights lack {lack}: they are not those of its own class "
            f"({', '.join(str(ref) for ref in auto_map.values())}); the folder is not whole"
        )
    raise RewardModelError(
        f"{folder}: its weights lack {lack}, so the reward head would be newly initialised "
        f"(random); train it first: rmaudit train reward --base {folder}"
    )
