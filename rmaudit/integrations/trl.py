"""Callbacks for TRL's trainers: a watch over an RL run, and audits on a schedule.

    from rmaudit.integrations.trl import RunWatch, reward_functions

    watch = RunWatch(stop=True)
    functions, weights = reward_functions({"help": proxy, "format": tidy}, gold=gold, watch=watch)
    trainer = GRPOTrainer(
        model="org/policy",
        reward_funcs=functions,
        args=GRPOConfig(reward_weights=weights, logging_steps=1, ...),
        callbacks=[watch],
        ...
    )

A gold reward of weight 0 is logged and never optimised. What is logged beside TRL's own numbers is
read by `rmaudit overopt --log`.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from transformers import TrainerCallback

from rmaudit.integrations.asking import columns_in, with_columns
from rmaudit.integrations.monitor import Alarm, RunMonitor
from rmaudit.integrations.recording import COMPONENT, Recorder
from rmaudit.typing import Float

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from rmaudit.api import Data
    from rmaudit.data.types import Prompt
    from rmaudit.report.document import Report
    from rmaudit.rewards.base import RewardModel, Text

RewardFunction = Callable[..., list[Any]]  # a number each, None where it does not apply
Outside = Callable[[Sequence["Text"]], Float]
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class GoldEvaluation:
    """The gold reward on a fixed set of prompts, at checkpoints.

    Attributes
    ----------
    gold
        A reward function as TRL takes it, or a reward model.
    prompts
        Answered by the policy each time; the more there are, the smaller a fall that is found.
    every
        Steps between evaluations.
    tokens
        The longest response.
    greedy
        Whether the likeliest tokens are taken; by default responses are sampled.
    """

    gold: Any
    prompts: Sequence[str]
    every: int = 20
    tokens: int = 128
    greedy: bool = False


class RunWatch(TrainerCallback):
    """Records what the reward functions return, logs it, and lets a monitor raise alarms.

    Parameters
    ----------
    monitor
        Alarms; see `RunMonitor`. By default one at level 0.05.
    stop
        Whether an alarm ends the training.
    outside
        Texts -> 1 where a sample lies outside the reward model's support, (n,).
    evaluation
        Gold on a fixed set of prompts at checkpoints, compared prompt by prompt, where a gold
        reward of every sample would cost too much.

    Attributes
    ----------
    alarms : list of Alarm
        Raised so far.

    Notes
    -----
    Logged, as means since the last log: ``rmaudit/proxy``, ``rmaudit/gold``,
    ``rmaudit/component/<name>``, ``rmaudit/disagreement``, ``rmaudit/outside``,
    ``rmaudit/evidence_<alarm>``, and ``rmaudit/kl``, the KL of a sequence in nats. TRL's own ``kl``
    is a mean over tokens; times the mean length of the responses it is the mean over sequences
    (RLOO: of the k1 estimator; GRPO: of k3). TRL computes it only where beta is not 0, and over the
    batches between two logs, so ``logging_steps=1`` is exact.
    """

    def __init__(
        self,
        monitor: RunMonitor | None = None,
        *,
        stop: bool = False,
        outside: Outside | None = None,
        evaluation: GoldEvaluation | None = None,
    ) -> None:
        self.monitor = RunMonitor() if monitor is None else monitor
        self.stop, self.outside, self.evaluation = stop, outside, evaluation
        self.recorder = Recorder(self.monitor)

    @property
    def alarms(self) -> list[Alarm]:
        """Raised so far."""
        return self.monitor.alarms

    def proxy(self, function: RewardFunction) -> RewardFunction:
        """The reward that is optimised, as a reward function whose values are recorded."""
        return self._recorded(function, "proxy", "proxy")

    def gold(self, function: RewardFunction) -> RewardFunction:
        """The reward that is meant; give it weight 0."""
        return self._recorded(function, "gold", "gold")

    def component(
        self, name: str, function: RewardFunction | RewardModel, weight: float = 1.0
    ) -> RewardFunction:
        """One of several rewards that are optimised together, recorded under its name."""
        self.recorder.weights[name] = weight
        return self._recorded(self._function(function), f"{COMPONENT}{name}", name)

    def model(self, model: RewardModel, *, as_gold: bool = False) -> RewardFunction:
        """A reward model of rmaudit as a reward function; of an ensemble also the disagreement."""
        reward = self._function(model, watched=not as_gold)
        return self.gold(reward) if as_gold else self.proxy(reward)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Forget samples of an evaluation: they are not of the run."""
        self.recorder.forget()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Show the monitor the samples of the step, and evaluate gold where it is time to."""
        paired = {}
        evaluation = self.evaluation
        if evaluation is not None and state.global_step % evaluation.every == 0:
            paired["gold"] = self._evaluated(evaluation, **given)
        for alarm in self.recorder.end_step(state.global_step, **paired):
            by = f" (the component that gained: {alarm.component})" if alarm.component else ""
            _LOG.warning("step %d: %s%s", alarm.step, alarm.meaning, by)
            if self.stop:
                control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Add our numbers to the log of the run."""
        found = {} if logs is None else self.recorder.logged()
        if logs is None or not found:
            return
        kl, length = logs.get("kl"), logs.get("completions/mean_length")
        if kl is not None and length is not None and math.isfinite(kl * length):
            found["rmaudit/kl"] = kl * length
        logs.update(found)
        if state.log_history:  # the trainer has written its entry already
            state.log_history[-1].update(found)

    def _evaluated(
        self, evaluation: GoldEvaluation, *, model: Any, processing_class: Any, **_: Any
    ) -> list[float]:
        """Gold of the policy's responses to the fixed prompts, in their order."""
        responses = sampled(
            model, processing_class, evaluation.prompts, evaluation.tokens, evaluation.greedy
        )
        reward = self._function(evaluation.gold, watched=False)
        values = reward(prompts=list(evaluation.prompts), completions=responses)
        return [math.nan if value is None else float(value) for value in values]

    def _function(self, reward: Any, *, watched: bool = True) -> RewardFunction:
        """A reward function of a function or of a reward model of rmaudit."""
        if not hasattr(reward, "encode"):
            return cast("RewardFunction", reward)
        from rmaudit.rewards.base import Text, does_not_apply, one_number
        from rmaudit.training.policy.reward import rewarded, score

        model: RewardModel = one_number(reward, "a trainer")

        def scored(
            prompts: Sequence[Prompt], completions: Sequence[Any], **given: Any
        ) -> list[float | None]:
            texts = [Text(p, _text(c)) for p, c in zip(prompts, completions, strict=True)]
            texts = with_columns(texts, columns_in(given, len(texts), frozenset()), [model])
            if len(model.members) > 1 and watched:
                members = np.stack([score(member, texts) for member in model.members])
                self.recorder.keep("disagreement", members.std(axis=0))
            if watched and self.outside is not None:
                self.recorder.keep("outside", self.outside(texts))
            found = rewarded(model, texts)
            if watched:
                for name, values in found.components.items():
                    self.recorder.keep(f"{COMPONENT}{name}", values)
            none = does_not_apply(found.total)  # the trainer leaves these out
            return [None if n else float(v) for v, n in zip(found.total, none, strict=True)]

        return scored

    def _recorded(self, function: RewardFunction, name: str, shown: str) -> RewardFunction:
        @functools.wraps(function)
        def record(*arguments: Any, **named: Any) -> list[Any]:
            values = function(*arguments, **named)
            self.recorder.keep(name, [math.nan if v is None else float(v) for v in values])
            return values

        record.__name__ = shown  # by which TRL logs it: rewards/<name>/mean
        return record


def reward_functions(
    model: Any,
    gold: Any = None,
    *,
    watch: RunWatch,
    weights: Mapping[str, float] | None = None,
) -> tuple[list[RewardFunction], list[float]]:
    """Reward functions for ``reward_funcs`` and weights for ``reward_weights``, all recorded.

    Parameters
    ----------
    model
        What is optimised: a reward model of rmaudit, a reward function as TRL takes it, or several
        of them by name, the components of the reward.
    gold
        What is meant, likewise; it gets weight 0.
    watch
        Records; goes into ``callbacks``.
    weights
        Of the components, by name; 1 by default.
    """
    given = dict(weights or {})
    if isinstance(model, Mapping):
        unknown = [name for name in given if name not in model]
        if unknown:
            raise ValueError(f"weights of {', '.join(unknown)}: no such component")
        share = [float(given.get(name, 1.0)) for name in model]
        functions = [
            watch.component(name, reward, weight)
            for (name, reward), weight in zip(model.items(), share, strict=True)
        ]
    else:
        share = [1.0]
        functions = [watch.proxy(watch._function(model))]
    if gold is not None:
        functions.append(watch.gold(watch._function(gold, watched=False)))
        share.append(0.0)
    return functions, share


def sampled(
    model: Any, tokenizer: Any, prompts: Sequence[str], tokens: int, greedy: bool = False
) -> list[str]:
    """One response of a policy to each prompt, as text."""
    import torch

    was_training = model.training
    model.eval()
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # of a processor
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    try:
        batch = tokenizer(list(prompts), return_tensors="pt", padding=True).to(model.device)
        with torch.no_grad():
            out = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=tokens,
                do_sample=not greedy,
                pad_token_id=tokenizer.pad_token_id,
            )
    finally:
        tokenizer.padding_side = side
        model.train(was_training)
    new = out[:, batch["input_ids"].shape[1] :]
    return [str(text) for text in tokenizer.batch_decode(new, skip_special_tokens=True)]


class AuditCallback(TrainerCallback):
    """Audits the reward model that is being trained, every so many steps and at the end.

    Parameters
    ----------
    eval
        Preferences to audit on, as `rmaudit.audit` takes them.
    out
        Folder: ``step-<n>/`` holds a report each; the weights that were audited are removed.
    every
        Steps between audits; 0: only at the end.
    only
        Names of the audits.
    options
        Of `rmaudit.audit`: feedback, deployment, resamples, ...

    Attributes
    ----------
    reports : dict of int to Report
        By step.
    """

    def __init__(
        self,
        eval: Data,
        out: str | Path,
        *,
        every: int = 0,
        only: Iterable[str] = ("preflight", "preference", "calibration", "length"),
        **options: Any,
    ) -> None:
        self.eval, self.out, self.every = eval, Path(out), every
        self.only, self.options = tuple(only), options
        self.reports: dict[int, Report] = {}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Audit where it is time to."""
        if self.every and state.global_step % self.every == 0:
            self._audit(state, **given)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Audit what came out."""
        if state.global_step not in self.reports:
            self._audit(state, **given)

    def _audit(self, state: TrainerState, *, model: Any, processing_class: Any, **_: Any) -> None:
        import tempfile

        from rmaudit.api import audit

        if not state.is_world_process_zero:
            return
        was_training = model.training
        with tempfile.TemporaryDirectory() as weights:
            model.save_pretrained(weights)
            processing_class.save_pretrained(weights)
            report = audit(weights, self.eval, only=self.only, **{"cache": False, **self.options})
        model.train(was_training)
        report.save(self.out / f"step-{state.global_step}")
        self.reports[state.global_step] = report
        record: dict[str, Any] = {"step": state.global_step}
        for result in report.audits.values():
            for metric in result.metrics:
                if not metric.slice and metric.value is not None:
                    record[f"rmaudit/{metric.id}"] = metric.value
        state.log_history.append(record)


def _text(completion: Any) -> str:
    """The output as text; of a conversation its last turn."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
