"""One model's share of a pass: windows, batches, and what to do when one of them fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rmaudit.errors import RewardModelError
from rmaudit.rewards.base import Encoded, IncompleteError, Mode, Rewarded, RewardModel
from rmaudit.scoring.progress import Progress
from rmaudit.scoring.requests import Column, Key
from rmaudit.scoring.rows import Rows
from rmaudit.scoring.store_types import Store
from rmaudit.scoring.texts import Texts

MODES: tuple[Mode, ...] = ("plain", "alone", "left")

# Texts are tokenised a window at a time, so that the token ids of a million texts are never in
# memory together. Sorted by characters beforehand, a window holds texts of like length.
_WINDOW_TEXTS = 4096
_WINDOW_CHARACTERS = 1 << 24
_SAMPLE = 256
_TRIED = 16  # texts that a faster way is tried on


class ModelPass:
    """What one model has to score, and what is known already.

    Parameters
    ----------
    model
        A single model, not an ensemble.
    texts
        The texts of the pass.
    wanted
        Which of them this model scores, (n_texts,).
    store
        Asked once, here; afterwards it is only written.
    """

    def __init__(
        self, model: RewardModel, texts: Texts, wanted: NDArray[np.bool_], store: Store
    ) -> None:
        self.model = model
        self._store = store
        self._budget = model.token_budget
        self.texts = texts
        self.rows: Rows  # (n_texts,), filled as scoring goes
        self.rows, found = store.look_up(model.fingerprint, texts.keys)
        self.components = self._stored_components(found)  # (n_texts,) each, likewise
        self.failures: list[str] = []  # a line per text on which the reward itself failed
        missing = np.flatnonzero(wanted & ~found)
        characters = texts.characters(missing)
        order = np.argsort(-characters, kind="stable")  # longest first: memory fails early
        self.missing: NDArray[np.int64] = missing[order]
        self._characters = characters[order]
        self.wanted = int(wanted.sum())
        self._wanted = wanted
        self.tokens = 0  # that went through the model

    def columns(self, modes: Sequence[Mode]) -> dict[Key, Column]:
        """What is known by now, as the columns of the requests in these modes."""
        return self.texts.columns(self.rows, modes, self.components)

    def asked_by(self) -> dict[str, int]:
        """How many texts each audit is the first to ask for; "" is the data."""
        return dict(Counter(self.texts.audits(np.flatnonzero(self._wanted))))

    def missing_by(self) -> dict[str, tuple[int, int]]:
        """How many of those are missing, and their characters, by audit."""
        found: dict[str, tuple[int, int]] = {}
        audits = self.texts.audits(self.missing)
        for audit, length in zip(audits, self._characters.tolist(), strict=True):
            count, characters = found.get(audit, (0, 0))
            found[audit] = (count + 1, characters + length)
        return found

    def estimate(self) -> int:
        """Tokens of all missing texts, from a sample spread evenly over their lengths."""
        sample = self.missing
        if len(sample) > _SAMPLE:
            sample = sample[np.linspace(0, len(sample) - 1, _SAMPLE).astype(np.int64)]
        tokens = [encoded.tokens for encoded in self._encode(sample)]
        return round(float(np.mean(tokens)) * len(self.missing)) if tokens else 0

    def quicker(self, tokens: int) -> str | None:
        """What the model says of a faster way to score so many tokens; None: nothing."""
        places = np.linspace(0, len(self.missing) - 1, min(_TRIED, len(self.missing)))
        return self.model.quicker(self._encode(self.missing[places.astype(np.int64)]), tokens)

    def run(self, progress: Progress) -> None:
        """Score what is missing; each batch is in the store before the next one starts.

        Raises
        ------
        RewardModelError
            If the model fails on a text: it is named, and all others of its batch that come
            before it are scored and stored.
        """
        for mode in MODES:
            here = self.texts.in_mode(mode)[self.missing]
            numbers, characters = self.missing[here], self._characters[here]
            prompts = None
            if mode == "plain" and self.model.shares_prefixes:
                prompts = self.texts.prompts(numbers)
                order, characters = _together(prompts, characters)
                numbers, prompts = numbers[order], prompts[order]
            start = 0
            while start < len(numbers):
                size = _fitting(int(characters[start]), _WINDOW_CHARACTERS, _WINDOW_TEXTS)
                window = slice(start, start + size)
                shared = None if prompts is None else prompts[window]
                self._run_window(numbers[window], mode, shared, progress)
                start += size

    def _run_window(
        self,
        numbers: NDArray[np.int64],
        mode: Mode,
        prompts: NDArray[np.int64] | None,
        progress: Progress,
    ) -> None:
        """Batch by batch; `prompts`: texts in order of prompts, which the model shares."""
        encoded = self._encode(numbers)
        tokens = np.array([e.tokens for e in encoded])
        order = np.argsort(-tokens, kind="stable") if prompts is None else np.arange(len(tokens))
        start = singly_until = 0
        while start < len(order):
            if prompts is None:
                costs = tokens[order[start]] * np.arange(1, self.model.max_batch + 1)
            else:
                costs = _packed(encoded[start : start + self.model.max_batch], prompts[start:])
            size = max(1, int(np.searchsorted(costs, self._budget, side="right")))
            if mode == "alone" or start < singly_until:
                size = 1
            places = order[start : start + size]
            batch = [encoded[i] for i in places]
            try:
                rewards = self._forward(batch, pad_left=mode == "left")
            except IncompleteError as error:
                done = np.flatnonzero(error.done)
                kept = [batch[i] for i in done]
                self._keep(numbers[places[done]], kept, Rewarded(error.rewards[done]))
                failed = int(numbers[places[error.place]])
                raise self._failure(failed, batch[error.place], error) from error
            except Exception as error:
                if len(batch) == 1:
                    raise self._failure(int(numbers[places[0]]), batch[0], error) from error
                if _out_of_memory(error):
                    self._budget = max(1, int(costs[len(batch) - 1]) // 2)
                else:  # one by one, to find the text that fails and keep the others
                    singly_until = start + len(batch)
                continue
            self._keep(numbers[places], batch, rewards)
            progress.advance(len(batch), sum(e.tokens for e in batch))
            start += len(batch)

    def _encode(self, numbers: NDArray[np.int64]) -> list[Encoded]:
        texts = self.texts.get(numbers)
        try:
            return self.model.encode(texts)
        except Exception:
            for number, text in zip(numbers.tolist(), texts, strict=True):
                try:
                    self.model.encode([text])
                except Exception as error:
                    raise self._failure(number, None, error) from error
            raise

    def _forward(self, batch: Sequence[Encoded], *, pad_left: bool) -> Rewarded:
        rewarded = self.model.score_batch(batch, pad_left=pad_left)
        for values in (rewarded.total, *rewarded.components.values()):
            if np.shape(values) != (len(batch),):
                raise RewardModelError(
                    f"rewards of shape {np.shape(values)} came back for {len(batch)} texts"
                )
        return rewarded

    def _keep(
        self, numbers: NDArray[np.int64], batch: Sequence[Encoded], rewarded: Rewarded
    ) -> None:
        rows = np.zeros(len(batch), dtype=self.rows.dtype)
        rows["reward"] = rewarded.total
        rows["tokens"] = [e.tokens for e in batch]
        rows["output_tokens"] = [e.output_tokens for e in batch]
        rows["truncated"] = [e.truncated for e in batch]
        rows["output_truncated"] = [e.output_truncated for e in batch]
        rows["double_bos"] = [e.double_bos for e in batch]
        self.rows[numbers] = rows
        self.tokens += int(rows["tokens"].sum())
        whole = np.ones(len(batch), dtype=np.bool_)  # a failure may be of the moment: not stored
        for place, reason in rewarded.failures.items():
            whole[place] = False
            self.failures.append(f"{self.texts.name(int(numbers[place]))}: {reason}")
        keys, parts = self.texts.keys[numbers[whole]], rows[whole]
        for name, values in rewarded.components.items():
            known = self.components.setdefault(name, np.full(len(self.rows), np.nan))
            known[numbers] = values
            there = ~np.isnan(values[whole])
            part = parts[there]
            part["reward"] = values[whole][there]
            self._store.add(component_print(self.model.fingerprint, name), keys[there], part)
        # Last: a text whose reward is stored has its components stored.
        self._store.add(self.model.fingerprint, keys, parts)

    def _stored_components(self, found: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        """Parts of the rewards that the store holds, by name; NaN where a text has none."""
        components = {}
        for fingerprint in self._store.fingerprints(component_print(self.model.fingerprint, "")):
            rows, there = self._store.look_up(fingerprint, self.texts.keys)
            name = fingerprint.removeprefix(component_print(self.model.fingerprint, ""))
            components[name] = np.where(there & found, rows["reward"], np.nan)
        return components

    def _failure(self, number: int, encoded: Encoded | None, error: Exception) -> RewardModelError:
        where = self.texts.name(number)
        if encoded is not None and _out_of_memory(error):
            return RewardModelError(
                f"{self.model.name} ran out of memory on one text alone, {where}, "
                f"{encoded.tokens} {self.model.length_unit} long; lower the maximum length"
            )
        return RewardModelError(
            f"{self.model.name} failed on the text of {where}: {_reason(error)}; "
            "what was scored before it is kept"
        )


def component_print(fingerprint: str, name: str) -> str:
    """Under what the store keeps a named part of a model's rewards."""
    return f"{fingerprint}#component:{name}"


def _together(
    prompts: NDArray[np.int64], characters: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order of texts by prompt, prompts by their longest text; and that text's characters.

    Both (n,); the characters are in the new order, so they never rise.
    """
    longest = np.zeros(prompts.max(initial=-1) + 1, dtype=np.int64)
    np.maximum.at(longest, prompts, characters)
    order = np.lexsort((-characters, prompts, -longest[prompts]))
    return order, longest[prompts[order]]


def _packed(encoded: Sequence[Encoded], prompts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tokens of the first 1, 2, ... texts in one batch, prompts of neighbours counted once.

    Truncation starts each text elsewhere: then nothing is taken for shared.
    """
    starts = np.array([0 if e.truncated else e.output_start for e in encoded])
    same = prompts[1 : len(encoded)] == prompts[: len(encoded) - 1]
    costs = np.array([e.tokens for e in encoded])
    costs[1:] -= np.minimum(starts[1:], starts[:-1]) * same
    return np.cumsum(costs)


def _fitting(longest: int, budget: int, most: int) -> int:
    """How many texts, none longer than `longest`, fit a padded batch; at least one."""
    return max(1, min(most, budget // max(1, longest)))


def _reason(error: Exception) -> str:
    """An error's words on one line, of readable length."""
    message = " ".join(str(error).split())
    if not isinstance(error, RewardModelError):
        message = f"{type(error).__name__}: {message}".removesuffix(": ")
    return message if len(message) <= 300 else f"{message[:300]} ..."


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, on any device, also if a wrapper raised something else from it."""
    while error is not None:
        # torch.OutOfMemoryError is a RuntimeError; the processor's allocator has its own words.
        message = str(error).lower() if isinstance(error, RuntimeError) else ""
        if isinstance(error, MemoryError) or any(words in message for words in _OUT_OF_MEMORY):
            return True
        error = error.__cause__
    return False


_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
