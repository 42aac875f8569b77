"""Callbacks for TRL's trainers: a watch over an RL run, and audits on a schedule.

    from rmaudit.integrations.monitor import RunMonitor
    from rmaudit.integrations.trl import RunWatch

    watch = RunWatch(RunMonitor(generations=8), stop=True)
    trainer = RLOOTrainer(
        model="org/policy",
        reward_funcs=[watch.model(proxy), watch.model(gold, as_gold=True)],
        args=RLOOConfig(reward_weights=[1.0, 0.0], logging_steps=1, ...),
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
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import TrainerCallback

from rmaudit.integrations.monitor import Alarm, RunMonitor
from rmaudit.typing import Float

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from rmaudit.api import Data
    from rmaudit.data.types import Prompt
    from rmaudit.report.document import Report
    from rmaudit.rewards.base import RewardModel, Text

RewardFunction = Callable[..., list[float]]
Outside = Callable[[Sequence["Text"]], Float]
_LOG = logging.getLogger(__name__)


class RunWatch(TrainerCallback):
    """Records what the reward functions return, logs it, and lets a monitor raise alarms.

    Parameters
    ----------
    monitor
        Alarms; see `RunMonitor`.
    stop
        Whether an alarm ends the training.
    outside
        Texts -> 1 where a sample lies outside the reward model's support, (n,).

    Attributes
    ----------
    alarms : list of Alarm
        Raised so far.

    Notes
    -----
    Logged, as means since the last log: ``rmaudit/proxy``, ``rmaudit/gold``,
    ``rmaudit/disagreement``, ``rmaudit/outside``, ``rmaudit/evidence_<alarm>``, and ``rmaudit/kl``,
    the KL of a sequence in nats. TRL's own ``kl`` is a mean over tokens; times the mean length of
    the outputs it is the mean over sequences (RLOO: of the k1 estimator; GRPO: of k3). TRL computes
    it only where beta is not 0, and over the batches between two logs, so ``logging_steps=1`` is
    exact.
    """

    def __init__(
        self, monitor: RunMonitor, *, stop: bool = False, outside: Outside | None = None
    ) -> None:
        self.monitor, self.stop, self.outside = monitor, stop, outside
        self._step: dict[str, list[Float]] = {}  # samples of this step
        self._since_log: dict[str, list[Float]] = {}

    @property
    def alarms(self) -> list[Alarm]:
        """Raised so far."""
        return self.monitor.alarms

    def proxy(self, function: RewardFunction) -> RewardFunction:
        """The reward that is optimised, as a reward function whose values are recorded."""
        return self._recorded(function, "proxy")

    def gold(self, function: RewardFunction) -> RewardFunction:
        """The reward that is meant; give it weight 0."""
        return self._recorded(function, "gold")

    def model(self, model: RewardModel, *, as_gold: bool = False) -> RewardFunction:
        """A reward model of rmaudit as a reward function; of an ensemble also the disagreement."""
        from rmaudit.rewards.base import Text
        from rmaudit.training.policy.reward import score

        def reward(prompts: Sequence[Prompt], completions: Sequence[Any], **_: Any) -> list[float]:
            texts = [Text(p, _text(c)) for p, c in zip(prompts, completions, strict=True)]
            values = score(model, texts)
            if not as_gold and len(model.members) > 1:
                members = np.stack([score(member, texts) for member in model.members])
                self._keep("disagreement", members.std(axis=0))
            if not as_gold and self.outside is not None:
                self._keep("outside", np.asarray(self.outside(texts), dtype=np.float64))
            return [float(value) for value in values]

        return self.gold(reward) if as_gold else self.proxy(reward)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Forget samples of an evaluation: they are not of the run."""
        self._step = {}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Show the monitor the samples of the step, if it drew any."""
        samples = {name: np.concatenate(values) for name, values in self._step.items()}
        self._step = {}
        if not samples:
            return
        for name, values in samples.items():
            self._since_log.setdefault(name, []).append(values)
        for alarm in self.monitor.update(state.global_step, **samples):
            _LOG.warning("step %d: %s", alarm.step, alarm.meaning)
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
        if logs is None or not self._since_log:
            return
        found = {
            f"rmaudit/{name}": float(np.nanmean(values))
            for name, parts in self._since_log.items()
            if np.isfinite(values := np.concatenate(parts)).any()
        }
        kl, length = logs.get("kl"), logs.get("completions/mean_length")
        if kl is not None and length is not None and math.isfinite(kl * length):
            found["rmaudit/kl"] = kl * length
        found |= {f"rmaudit/evidence_{name}": e for name, e in self.monitor.evidence.items()}
        logs.update(found)
        if state.log_history:  # the trainer has written its entry already
            state.log_history[-1].update(found)
        self._since_log = {}

    def _recorded(self, function: RewardFunction, name: str) -> RewardFunction:
        @functools.wraps(function)
        def record(*arguments: Any, **named: Any) -> list[float]:
            values = function(*arguments, **named)
            kept = [math.nan if value is None else float(value) for value in values]
            self._keep(name, np.array(kept, dtype=np.float64))
            return values

        record.__name__ = name  # by which TRL logs it: rewards/<name>/mean
        return record

    def _keep(self, name: str, values: Float) -> None:
        self._step.setdefault(name, []).append(values)


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
