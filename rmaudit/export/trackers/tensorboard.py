"""TensorBoard: scalars with their intervals as bands, the verdict as text, the pages beside."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from rmaudit.export.trackers import Logged, Tracker, register_tracker
from rmaudit.files import check_writable


@register_tracker
class TensorBoard(Tracker):
    """``tensorboard:DIR``. The custom scalars draw each number with its interval as a band."""

    name = "tensorboard"
    package = "tensorboard"
    accepted = "tensorboard:DIR"
    place_needed = "a folder"

    def check(self, place: str) -> None:
        """See `Tracker.check`."""
        check_writable(Path(place), f"--log-to {self.name}:DIR")

    def log(self, logged: Logged, place: str) -> str:
        """See `Tracker.log`."""
        from torch.utils.tensorboard import SummaryWriter

        folder = Path(place) / re.sub(r"[^\w.-]+", "-", logged.name)
        with SummaryWriter(str(folder)) as writer:
            for name, value in logged.numbers.items():
                tag = name.replace(".", "/", 1)  # a group per audit
                writer.add_scalar(tag, value, logged.step or 0)
            writer.add_custom_scalars(_bands(logged))
            settings = "".join(f"\n- {key}: `{value}`" for key, value in logged.settings.items())
            text = f"**{logged.answer}**\n{settings}"
            writer.add_text("verdict", text, logged.step or 0)
        for file in logged.files:
            shutil.copy(file, folder / file.name)
        return f"tensorboard --logdir {place} (pages: {folder})"


def _bands(logged: Logged) -> dict[str, dict[str, list[Any]]]:
    """A chart per number that has both ends of its interval, by audit."""
    charts: dict[str, dict[str, list[Any]]] = {}
    for name in logged.numbers:
        if {f"{name}.low", f"{name}.high"} <= logged.numbers.keys():
            audit, _, rest = name.partition(".")
            tag = f"{audit}/{rest}"
            band = ["Margin", [tag, f"{tag}.low", f"{tag}.high"]]
            charts.setdefault(audit, {})[rest] = band
    return charts
