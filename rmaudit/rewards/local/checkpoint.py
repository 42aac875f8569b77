"""A trained sequence-classification model and its tokenizer, from their files."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from rmaudit.errors import RewardModelError
from rmaudit.rewards.local.checkpoint_files import (
    Permissions,
    check_weights,
    code_of,
    fetch,
    fingerprint,
    first_line,
    read_json,
    weight_shapes,
)
from rmaudit.rewards.local.own_class import (
    loader_of,
    refuse_dropped,
    refuse_untrained,
)
from rmaudit.rewards.local.placement import WHOLE, Placement, refuse_too_large
from rmaudit.rewards.local.shared_base import changes_its_base, shared_base

_CPU = torch.device("cpu")
Task = Literal["SequenceClassification", "TokenClassification", "CausalLM"]
"""What a model's head is for, as transformers names its classes."""


@dataclass(frozen=True)
class Checkpoint:
    """A model in evaluation mode on the CPU, its tokenizer, and the folders they came from."""

    model: Any
    tokenizer: Any
    folders: tuple[Path, ...]  # of an adapter: its own and its base's
    adapter: bool
    dtype: torch.dtype = torch.float32
    placed: bool = False  # loading has put the weights onto their devices
    unshared: str | None = None  # why prompts may not be encoded once, if they may not
    base: Any = None  # of an adapter: kept, so that others on it find its weights

    def on(self, device: torch.device) -> Any:
        """The model on a device, or where loading has put it."""
        return self.model if self.placed else self.model.to(device)

    def fingerprint(self, facts: Sequence[object]) -> str:
        """A hash of everything that decides about rewards: files, code that ran, and `facts`."""
        return fingerprint(self.folders, facts, code_of(self.model, self.tokenizer))


def load_checkpoint(
    folder: Path,
    dtype: torch.dtype,
    permissions: Permissions,
    task: Task = "SequenceClassification",
    *,
    device: torch.device = _CPU,
    placement: Placement = WHOLE,
) -> Checkpoint:
    """A model with its trained head, or a PEFT adapter on its base.

    Parameters
    ----------
    folder, dtype, permissions, task
        Where it is, its number format, what may run, what its head is for.
    device, placement
        Where it will run, which must have room for it, and how its weights are held.

    Raises
    ------
    RewardModelError
        If files are missing or refused, the weights do not hold a trained head, or it is a
        classifier's and a language model is wanted.
    """
    options = placement.load_options(dtype, device)
    unshared = None if placement.attn is None else "--attn asks for another attention"
    if (folder / "adapter_config.json").is_file():
        checkpoint = _load_adapter(folder, dtype, permissions, task, device, options)
        return replace(checkpoint, placed=placement.places, unshared=unshared)
    if not placement.places:
        refuse_too_large(folder, dtype, device)
    model, missing = _load_model(folder, dtype, permissions, task, **options)
    refuse_untrained(folder, missing, read_json(folder / "config.json"))
    tokenizer = _load_tokenizer(folder, permissions)
    return Checkpoint(model.eval(), tokenizer, (folder,), False, dtype, placement.places, unshared)


def _load_model(
    folder: Path, dtype: torch.dtype, permissions: Permissions, task: Task, **options: Any
) -> tuple[Any, set[str]]:
    """The model, and the names of weights that its files lack."""
    if not (folder / "config.json").is_file():
        raise RewardModelError(f"{folder}: no config.json; name a transformers model's folder")
    with _one_line(folder, "model"):
        config = read_json(folder / "config.json")
    loader_name, own = loader_of(folder, config, task, trusted=permissions.trust_remote_code)
    check_weights(folder, "model*.safetensors", allow_pickle=permissions.allow_pickle)
    if task == "SequenceClassification" and own is None:
        options = _label_count(folder, config) | options
    with _one_line(folder, "model"), silent():
        loader: Any = getattr(importlib.import_module("transformers"), loader_name)
        model, loaded = loader.from_pretrained(  # nosec B615: a folder
            folder,
            dtype=dtype,
            use_safetensors=None if permissions.allow_pickle else True,
            trust_remote_code=permissions.trust_remote_code,
            output_loading_info=True,
            **options,
        )
    missing = set(loaded["missing_keys"]) | {each[0] for each in loaded["mismatched_keys"]}
    if task != "CausalLM":
        refuse_dropped(folder, loaded["unexpected_keys"], missing, model, config)
    return model, missing


def _label_count(folder: Path, config: dict[str, Any]) -> dict[str, int]:
    """How many heads the weights have where the configuration does not say: `num_labels`."""
    if config.get("num_labels") is not None or config.get("id2label"):
        return {}
    heads = _heads(weight_shapes(folder))
    return {} if heads is None else {"num_labels": heads}


def _load_tokenizer(folder: Path, permissions: Permissions) -> Any:
    from transformers import AutoTokenizer

    with _one_line(folder, "tokenizer"), silent():
        return AutoTokenizer.from_pretrained(  # nosec B615: a folder
            folder, trust_remote_code=permissions.trust_remote_code
        )


def _load_adapter(
    folder: Path,
    dtype: torch.dtype,
    permissions: Permissions,
    task: Task,
    device: torch.device,
    options: dict[str, Any],
) -> Checkpoint:
    try:
        import peft
    except ImportError as error:
        raise RewardModelError(f"{folder}: a PEFT adapter needs peft; pip install peft") from error
    settings = read_json(folder / "adapter_config.json")
    base = _base_folder(folder, settings, permissions)
    # By its full name: without this very file, peft would take a pickle instead.
    check_weights(folder, "adapter_model.safetensors", allow_pickle=permissions.allow_pickle)
    with _one_line(folder, "adapter"):
        shapes = {k: v.shape for k, v in peft.load_peft_weights(str(folder), "cpu").items()}
    own = {name.removeprefix("base_model.model."): shape for name, shape in shapes.items()}
    heads = _heads(own)
    if heads is not None:  # the adapter brings its head; the base may have another number of them
        options = options | {"num_labels": heads, "ignore_mismatched_sizes": True}

    def load() -> tuple[Any, set[str]]:
        if "device_map" not in options:
            refuse_too_large(base, dtype, device)
        return _load_model(base, dtype, permissions, task, **options)

    # Hooks of accelerate hold the modules that they were made for.
    if "device_map" in options or changes_its_base(settings):
        (model, missing), kept = load(), None
    else:
        key = (fingerprint((base,), ()), dtype, task, str(device), repr(sorted(options.items())))
        model, kept, missing = shared_base(key, load, own)
    refuse_untrained(folder, missing - own.keys(), read_json(base / "config.json"))
    _name_heads(model, folder, heads)
    with _one_line(folder, "adapter"), silent():
        wrapped = peft.PeftModel.from_pretrained(model, str(folder))
    if wrapped.active_peft_config.is_prompt_learning:
        raise RewardModelError(
            f"{folder}: prompt-learning adapters are not supported; use one that changes weights"
        )
    # Not merged: rounding the sum to bfloat16 would change rewards.
    model = wrapped.get_base_model().eval()
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
    carries_tokenizer = (folder / "tokenizer_config.json").is_file()
    tokenizer = _load_tokenizer(folder if carries_tokenizer else base, permissions)
    return Checkpoint(model, tokenizer, (folder, base), adapter=True, dtype=dtype, base=kept)


def _name_heads(model: Any, folder: Path, heads: int | None) -> None:
    """Give the heads their names where the adapter was trained by rmaudit, which writes them."""
    if (folder / "config.json").is_file():
        names = read_json(folder / "config.json").get("id2label", {})
        if len(names) == heads:
            model.config.id2label = {int(place): name for place, name in names.items()}


def _base_folder(folder: Path, settings: dict[str, Any], permissions: Permissions) -> Path:
    name = settings.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise RewardModelError(f"{folder / 'adapter_config.json'}: names no base model")
    if Path(name).is_dir():
        return Path(name)
    return fetch(name, settings.get("revision"), permissions)


def _heads(shapes: dict[str, Any]) -> int | None:
    """How many heads an adapter's own reward head has; None if its base brings the head."""
    for name in ("score.weight", "classifier.out_proj.weight", "classifier.weight"):
        if name in shapes:
            return int(shapes[name][0])
    return None


@contextmanager
def _one_line(folder: Path, what: str) -> Iterator[None]:
    try:
        yield
    except RewardModelError:
        raise
    except Exception as error:  # transformers, tokenizers, safetensors and torch each have theirs
        if "trust_remote_code" in str(error):
            raise RewardModelError(
                f"{folder}: the {what} needs code from its own folder to run; read that code, then "
                "say --trust-remote-code (trust_remote_code=True)"
            ) from error
        advice = "name a transformers sequence-classification model"
        if any(word in str(error).lower() for word in ("attention", "attn")):
            advice = "say another --attn, such as sdpa or eager"
        raise RewardModelError(
            f"{folder}: cannot load the {what}: {first_line(error)}; {advice}"
        ) from error


@contextmanager
def silent() -> Iterator[None]:
    """Without the libraries' notes and progress bars: what matters is checked and said here."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft and transformers, of each other
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
