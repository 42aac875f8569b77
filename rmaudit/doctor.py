"""Is everything in place? Versions, memory, device, store, and a reward model on ten texts."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmaudit._version import __version__
from rmaudit.data.types import Message, Prompt
from rmaudit.errors import RmauditError
from rmaudit.rewards.base import (
    Encoded,
    MissingColumnError,
    Mode,
    RewardModel,
    Text,
    failed,
    leaves,
)
from rmaudit.rewards.local.devices import memory as memory
from rmaudit.scoring import Request, open_store, score
from rmaudit.scoring.store import default_path

NEEDED = (
    "torch",
    "transformers",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "matplotlib",
    "netcal",
    "httpx2",
)
OPTIONAL = {"peft": "PEFT adapters", "datasets": "hub data sets"}
_LITTLE = 2 << 30  # bytes of memory or disk below which an audit may not end well
_BUDGETS = (1024, 2048, 4096, 8192, 16384)  # tokens per batch
_PATIENCE = 20.0  # seconds after which no larger budget is tried
_MOST_TEXTS = 64
_BATCH_TOLERANCE = 0.05  # of the texts' standard deviation: what preflight calls a fault

_TURNS: list[Message] = [
    {"role": "user", "content": "My name is Ada."},
    {"role": "assistant", "content": "Hello Ada."},
    {"role": "user", "content": "What is my name?"},
]
TEN_TEXTS: tuple[tuple[Prompt, str], ...] = (
    ("What is the capital of France?", "Paris."),
    ("What is the capital of France?", "I do not know, and I will not try."),
    (
        "Write a haiku about rain.",
        "Soft rain on the roof,\na kettle begins to sing;\nletters unopened.",
    ),
    ("", "An answer to nothing at all."),
    ("Be quiet.", ""),
    (_TURNS, "Your name is Ada."),
    ("Was heißt „Regen“ auf Japanisch?", "雨 (ame) 🌧"),
    ("Sort a list in Python.", "```python\nsorted(values)\n```"),
    ("Summarise: " + "the quick brown fox jumps over the lazy dog. " * 40, "A fox jumps, often."),
    ("Tell me more.", "More, and more, and more. " * 60),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, what was found, and whether it will do."""

    status: Literal["ok", "warn", "fail"]
    what: str
    said: str


def examine(
    load: Callable[[], RewardModel] | None = None, store: Path | None = None
) -> list[Check]:
    """Look at the set-up, and at a reward model if one is named.

    Parameters
    ----------
    load
        Loads the model; None: none is looked at.
    store
        The score store; None: where audits keep it by default.
    """
    checks = examine_setup(store)
    return checks if load is None else checks + examine_model(load)


def examine_setup(store: Path | None = None) -> list[Check]:
    """Look at versions, memory, devices and the store."""
    return [_python(), *_packages(), _memory(), *_devices(), _store(store)]


def _python() -> Check:
    where = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return Check("ok", "rmaudit", f"{__version__} on Python {platform.python_version()}, {where}")


def _packages() -> list[Check]:
    checks = []
    for name in NEEDED:
        installed = _version(name)
        message = installed or f"is missing; pip install {name}"
        checks.append(Check("ok" if installed else "fail", name, message))
    for name, use in OPTIONAL.items():
        installed = _version(name)
        message = installed or f"not installed: needed for {use}; pip install {name}"
        checks.append(Check("ok" if installed else "warn", name, message))
    return checks


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _memory() -> Check:
    free, total = memory()
    if free is None or total is None:
        return Check("ok", "memory", "this system does not say")
    status: Literal["ok", "warn"] = "ok" if free >= _LITTLE else "warn"
    return Check(status, "memory", f"{_size(free)} free of {_size(total)}")


def _devices() -> list[Check]:
    from rmaudit.rewards.local.devices import devices

    accelerators = devices()
    if not accelerators:
        return [Check("ok", "device", "cpu (no accelerator; large models will be slow)")]
    checks = []
    for each in accelerators:
        room = "" if each.free is None else f", {_size(each.free)} free of {_size(each.total or 0)}"
        checks.append(Check("ok", "device", f"{each.name} ({each.what}{room})"))
    return checks


def _store(store: Path | None) -> Check:
    path = default_path() if store is None else store
    try:
        with open_store(path):
            pass
        free = shutil.disk_usage(path.parent).free
    except (RmauditError, OSError) as error:
        return Check("fail", "store", str(error))
    status: Literal["ok", "warn"] = "ok" if free >= _LITTLE else "warn"
    return Check(status, "store", f"{path}, {_size(free)} free on its disk")


def examine_model(load: Callable[[], RewardModel]) -> list[Check]:
    """Look at a reward model: what it is, ten texts, and the fastest batches."""
    start = time.perf_counter()
    try:
        model = load()
    except RmauditError as error:
        return [Check("fail", "model", str(error))]
    took = time.perf_counter() - start
    checks = [Check("ok", "model", f"{model.name} ({model.kind}) loaded in {took:.1f} s")]
    checks += [Check("ok", what, fact) for what, fact in _screen(model)]
    checks += [Check("warn", "notice", message) for message in getattr(model, "notices", ())]
    if not model.scores_new_text:
        message = "has rewards only for what the data holds: there is no text to try"
        return [*checks, Check("ok", "preflight", message)]
    return [*checks, *_preflight(model), *_budget(model)]


def _screen(model: RewardModel) -> list[tuple[str, str]]:
    """What the model is, as (what, found): its own screen, else the facts that fit on a line."""
    own = getattr(model, "screen", None)
    if own is not None:
        shown: list[tuple[str, str]] = own()
        return shown
    facts = {"signal": model.signal, **model.describe()}
    return [(name.replace("_", " "), str(value)) for name, value in _short(facts)]


def _short(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    """Facts that fit on a line; a chat template does not."""
    return [(n, v) for n, v in facts.items() if len(str(v)) <= 60 and "\n" not in str(v)]


def _preflight(model: RewardModel) -> list[Check]:
    """Ten texts, in a batch and alone: finite, told apart, and the same both times."""
    prompts, outputs = [p for p, _ in TEN_TEXTS], [o for _, o in TEN_TEXTS]
    ids = [f"text {i}" for i in range(1, len(TEN_TEXTS) + 1)]
    # A model of pairs is shown each response beside the next one.
    others = [*outputs[1:], outputs[0]] if model.signal == "preference" else None
    modes: tuple[Mode, ...] = ("plain", "alone")
    requests = [
        Request("output", ids, prompts, outputs, mode=mode, others=others) for mode in modes
    ]
    start = time.perf_counter()
    try:
        for each in leaves(model):
            each.columns(())
        scores = score(model, requests)
    except MissingColumnError as error:
        message = (
            f"not tried: it reads {error.column!r}, a column that these ten texts do not have; "
            "rmaudit audit --limit 10 tries it on your data"
        )
        return [Check("warn", "preflight", message)]
    except RmauditError as error:
        return [Check("fail", "preflight", str(error))]
    took = time.perf_counter() - start
    column = scores.column("output")
    together, alone = column.reward, scores.reward("output", mode="alone")
    checks = [*_failed(together, scores.failures)]
    talks = np.array([not isinstance(prompt, str) for prompt in prompts])
    if checks and not (failed(together) & ~talks).any():  # what reads no messages is told, and left
        together, alone = together[~talks], alone[~talks]
    elif checks:
        return checks
    checks.append(_told_apart(together, took, strict=model.signal == "logit"))
    if column.output_truncated.any():
        message = "the longest output of about 400 words is cut; raise the maximum length"
        checks.append(Check("warn", "preflight", message))
    return [*checks, *_same(together, alone)]


def _budget(model: RewardModel) -> list[Check]:
    """The token budget at which the model scores most tokens per second, of those tried in time."""
    if len(model.members) > 1 or model.length_unit != "tokens" or model.token_budget > _BUDGETS[-1]:
        return []
    other = "another word" if model.signal == "preference" else None
    texts = [
        Text(f"Question {i}?", "word " * (20 + 7 * i % 300), other=other)
        for i in range(2 * _MOST_TEXTS)
    ]
    encoded = sorted(model.encode(texts), key=lambda each: -each.tokens)
    rates: dict[int, float] = {}
    end = time.perf_counter() + _PATIENCE
    for budget in _BUDGETS:
        batch = encoded[: max(1, min(model.max_batch, budget // encoded[0].tokens))]
        try:
            seconds = min(_seconds(model, batch) for _ in range(2))  # the first may set things up
        except Exception:  # memory ran out, or what preflight has said already
            break
        rates[budget] = sum(each.tokens for each in batch) / seconds
        if time.perf_counter() > end:
            break
    if not rates:
        return []
    best = max(rates, key=rates.__getitem__)
    tried = ", ".join(f"{budget:,}: {rate:,.0f}" for budget, rate in rates.items())
    message = f"--token-budget {best} is the fastest here (tokens/s at {tried})"
    if rates[best] < 1.05 * rates.get(model.token_budget, 0.0):
        message = f"the token budget {model.token_budget:,} is as fast as any (tokens/s at {tried})"
    return [Check("ok", "batches", message)]


def _seconds(model: RewardModel, batch: Sequence[Encoded]) -> float:
    start = time.perf_counter()
    model.forward(batch)
    return time.perf_counter() - start


def _failed(rewards: NDArray[np.float64], failures: Sequence[str]) -> list[Check]:
    """What the reward itself failed on, and why."""
    lost = np.flatnonzero(failed(rewards))
    if not lost.size:
        return []
    why = failures[0].partition(": ")[2] if failures else "no reason is known"
    if all(not isinstance(TEN_TEXTS[place][0], str) for place in lost):
        message = (
            f"on a prompt that is a list of messages (and so is its completion) it {why}; that "
            "matters if your prompts are conversations"
        )
        return [Check("warn", "preflight", message)]
    which = ", ".join(str(place + 1) for place in lost)
    return [Check("fail", "preflight", f"on text {which} of ten it {why}")]


def _told_apart(rewards: NDArray[np.float64], took: float, *, strict: bool) -> Check:
    finite = np.isfinite(rewards)
    if not finite.all():
        which = ", ".join(str(place + 1) for place in np.flatnonzero(~finite))
        return Check("fail", "preflight", f"rewards of text {which} of ten are not finite")
    if np.ptp(rewards) == 0:
        message = f"ten different texts all have reward {rewards[0]:.4g}"
        if strict:
            return Check("fail", "preflight", message)
        return Check(
            "warn", "preflight", f"{message}, as a verdict or a score may; try it on your data"
        )
    message = (
        f"ten texts have rewards from {rewards.min():.4g} to {rewards.max():.4g}, {took:.1f} s"
    )
    return Check("ok", "preflight", message)


def _same(together: NDArray[np.float64], alone: NDArray[np.float64]) -> list[Check]:
    spread = float(together.std())
    if not (np.isfinite(together).all() and np.isfinite(alone).all() and spread > 0):
        return []
    largest = float(np.abs(together - alone).max()) / spread
    message = f"a text's reward moves by {largest:.2g} SD at most with what shares its batch"
    return [Check("ok" if largest <= _BATCH_TOLERANCE else "fail", "preflight", message)]


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
