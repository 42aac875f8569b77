"""The files of a model: where they are, whether they are safe to load, what they add up to."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from rmaudit.errors import RewardModelError
from rmaudit.files import read_text
from rmaudit.permissions import Permissions as Permissions

_PICKLED = ("*.bin", "*.pt", "*.pth")
_TOKENIZER = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.jinja",
)
# What trainers leave beside a model; nothing of it is read when the model is loaded.
_BY_TRAINERS = re.compile(
    r"training_args\.bin|(optimizer|scheduler|scaler)\.(pt|bin)|rng_state.*\.pth|"
    r"(trainer_state|all_results|train_results|eval_results|training)\.json"
)
# Raised when rmaudit itself comes to make other rewards of the same files: texts, pooling, ...
_SCORING_VERSION = 2


def fetch(
    name: str, revision: str | None, permissions: Permissions, folder: str | None = None
) -> Path:
    """A hub model's files on this machine: those of its root, or of one folder of it.

    Only what loading reads is downloaded: no pickles and no code unasked, no exports to other
    formats, which lie in folders of their own or are called consolidated.

    Raises
    ------
    RewardModelError
        If the hub does not have it or cannot be reached.
    """
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", *_TOKENIZER]
    wanted += ["*.py"] if permissions.trust_remote_code else []
    wanted += _PICKLED if permissions.allow_pickle else []
    place = f"{folder.strip('/')}/" if folder else ""
    wanted = [place + pattern for pattern in wanted]
    others = [f"{place}*/*", f"{place}consolidated*.safetensors"]
    try:
        root = snapshot_download(
            name, revision=revision, allow_patterns=wanted, ignore_patterns=others
        )
    except Exception as error:  # the hub's client raises its own, requests' and httpx's errors
        raise RewardModelError(
            f"{name}: not a directory here, and the hub does not give it ({first_line(error)}); "
            "check the name and the network, or log in with `hf auth login`"
        ) from error
    found = Path(root) / place
    if not found.is_dir():
        raise RewardModelError(f"{name}: has no folder {folder}; check its files on the hub")
    return found


def check_weights(folder: Path, wanted: str, *, allow_pickle: bool) -> None:
    """Refuse a folder without the wanted weights (a pattern), or with pickled ones instead.

    Raises
    ------
    RewardModelError
        Saying which file, and what to do.
    """
    if any(folder.glob(wanted)):
        return
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    if not pickled:
        raise RewardModelError(f"{folder}: no weights ({wanted}); name a trained model")
    if not allow_pickle:
        raise RewardModelError(
            f"{folder / pickled[0]}: pickled weights can run code when they are loaded; save the "
            "model as safetensors, or say --allow-pickle (allow_pickle=True) if you trust them"
        )


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights in a folder's safetensors files, by name; empty of pickled ones."""
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as weights:
                names = list(weights.keys())
                shapes |= {name: tuple(weights.get_slice(name).get_shape()) for name in names}
        except (SafetensorError, OSError) as error:
            raise RewardModelError(f"{path}: cannot be read: {first_line(error)}") from error
    return shapes


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    RewardModelError
        If there is no such file, or no object in it.
    """
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise RewardModelError(f"{path}: cannot be read: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise RewardModelError(f"{path}: holds no JSON object")
    return content


def fingerprint(folders: Sequence[Path], facts: Sequence[object], code: Sequence[Path] = ()) -> str:
    """A hash of weights, configuration, tokenizer and whatever else decides about rewards.

    Parameters
    ----------
    folders
        The model's folder; of an adapter, also its base's.
    facts
        Template or format, head, number format, maximum length.
    code
        Source files that ran and may lie elsewhere: see `code_of`.

    Notes
    -----
    File contents count, paths do not, so a model keeps its fingerprint when its folder moves.
    """
    total = hashlib.sha256(repr((_SCORING_VERSION, *facts)).encode("utf-8", "surrogatepass"))
    for number, folder in enumerate(folders):
        for path in _files(folder):
            if path.name == "adapter_config.json":
                settings = read_json(path)
                del settings["base_model_name_or_path"]  # its files are hashed themselves
                digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
            else:
                digest = _digest(path)
            total.update(f"\n{number} {path.name} {digest}".encode())
    for digest in sorted(f"{path.name} {_digest(path)}" for path in code):
        total.update(f"\ncode {digest}".encode())
    return total.hexdigest()


def code_of(*objects: object) -> list[Path]:
    """The source files of models' own classes, wherever transformers fetched them from.

    A folder may name code of another repository: the files beside each class's module are taken.
    """
    files = set()
    for each in objects:
        for base in (*type(each).__mro__, *type(getattr(each, "config", None)).__mro__):
            module = sys.modules.get(base.__module__)
            file = getattr(module, "__file__", None)
            if base.__module__.startswith("transformers_modules") and file:
                files |= set(Path(file).parent.glob("*.py"))
    return sorted(files)


def _digest(path: Path) -> str:
    """SHA-256 of a file; one that has not changed since is not read again (bases of adapters)."""
    seen = path.stat()
    return _digest_of(str(path.resolve()), seen.st_size, seen.st_mtime_ns, seen.st_ino)


@lru_cache(maxsize=4096)
def _digest_of(path: str, *seen: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """Each file that bears on a reward, once, in order of name.

    Safetensors all count, a model's own class may read any. Pickles count where they are what is
    loaded, or where code of the folder might read them.
    """
    weights = ["*.safetensors"]
    read = any(
        any(folder.glob(name)) for name in ("model*.safetensors", "adapter_model.safetensors")
    )
    if not read or any(folder.glob("*.py")):
        weights += _PICKLED
    patterns = ("*.json", "*.py", *weights, *_TOKENIZER)
    files = {path for p in patterns for path in folder.glob(p) if path.is_file()}
    yield from sorted(path for path in files if not _BY_TRAINERS.fullmatch(path.name))


def first_line(error: BaseException) -> str:
    """What an exception says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
