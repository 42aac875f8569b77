"""Adapters to train in place of all weights (LoRA, Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

from typing import Any, Literal

from rmaudit.errors import UsageError


def with_adapters(model: Any, rank: int, task: Literal["CAUSAL_LM", "SEQ_CLS"]) -> Any:
    """The model with adapters of one rank on all linear layers; the weights under them are fixed.

    Without dropout: neither a reward nor a log-probability may depend on chance. A new head
    (SEQ_CLS) is trained in full and saved beside the adapters.

    Raises
    ------
    UsageError
        If peft is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise UsageError("adapters need peft; pip install peft") from error
    settings = peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type=task
    )
    return peft.get_peft_model(model, settings)
