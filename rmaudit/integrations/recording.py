"""What a run's rewards were, step by step: for the monitor, and for a log that `overopt` reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmaudit.integrations.monitor import Alarm, RunMonitor
from rmaudit.typing import Float

COMPONENT = "component/"


class Recorder:
    """Gathers samples until a step ends, and what is logged until a log is written.

    Parameters
    ----------
    monitor
        Is shown every step.
    weights
        Of the components, by name, from which the proxy follows where it is not recorded itself.
    """

    def __init__(self, monitor: RunMonitor, weights: Mapping[str, float] | None = None) -> None:
        self.monitor = monitor
        self.weights = dict(weights or {})
        self._step: dict[str, list[Float]] = {}
        self._since_log: dict[str, list[Float]] = {}

    def keep(self, name: str, values: Any) -> None:
        """Take samples: "proxy", "gold", "disagreement", "component/NAME", ..., (n,)."""
        self._step.setdefault(name, []).append(np.asarray(values, dtype=np.float64))

    def forget(self) -> None:
        """Leave out what came since the last step ended."""
        self._step = {}

    def end_step(self, step: int, **paired: Any) -> list[Alarm]:
        """Show the step's samples to the monitor; the alarms that it raises.

        `paired` is ``gold`` with one value per prompt of a fixed set, where it was evaluated.
        """
        samples = {name: np.concatenate(values) for name, values in self._step.items()}
        self._step = {}
        parts = {
            name.removeprefix(COMPONENT): values
            for name, values in samples.items()
            if name.startswith(COMPONENT)
        }
        if parts and "proxy" not in samples:
            used = [np.nan_to_num(v) * self.weights.get(k, 1.0) for k, v in parts.items()]
            if len({values.size for values in used}) == 1:
                samples["proxy"] = np.sum(used, axis=0)
        if paired:
            samples["gold"] = np.asarray(paired["gold"], dtype=np.float64)
        if not samples:
            return []
        for name, values in samples.items():
            self._since_log.setdefault(name, []).append(values)
        given = {k: v for k, v in samples.items() if not k.startswith(COMPONENT)}
        return self.monitor.update(step, components=parts, paired=bool(paired), **given)

    def logged(self) -> dict[str, float]:
        """Means since the last call as ``rmaudit/NAME``, SDs of the rewards, and evidence."""
        if not self._since_log:
            return {}
        found: dict[str, float] = {}
        for name, parts in self._since_log.items():
            values = np.concatenate(parts)
            values = values[np.isfinite(values)]
            if values.size:
                found[f"rmaudit/{name}"] = float(values.mean())
            if values.size > 1 and name in ("proxy", "gold"):
                found[f"rmaudit/{name}_sd"] = float(values.std(ddof=1))
        self._since_log = {}
        evidence = self.monitor.evidence
        return found | {f"rmaudit/evidence_{name}": value for name, value in evidence.items()}
