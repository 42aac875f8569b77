"""Figures for papers: what is drawn where, and the script that draws it again without rmaudit."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rmaudit.errors import UsageError
from rmaudit.overoptimization import from_logs
from rmaudit.overoptimization.paper import gain_lines
from rmaudit.overoptimization.result import Overopt
from rmaudit.plots import STYLES
from rmaudit.plots.canvas import with_style
from rmaudit.plots.gain_lines import gain_axes, label_ends, read_lines


def run(folder: Path, name: str, seed: int, steps: int = 80) -> Path:
    rng = np.random.default_rng(seed)
    u = np.arange(1, steps + 1) / steps
    gold = 1 - np.exp(-6 * u) - 2.5 * np.maximum(u - 0.4, 0) + 0.03 * rng.standard_normal(steps)
    rows = [
        {"step": i + 1, "kl_k1": 20 * x, "proxy": 3 * x, "gold": g}
        for i, (x, g) in enumerate(zip(u.tolist(), gold.tolist(), strict=True))
    ]
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Overopt:
    folder = tmp_path_factory.mktemp("logs")
    return from_logs([run(folder, "first", 0), run(folder, "second", 1)])


def test_axes_are_given_back_with_labels_at_the_lines(two: Overopt) -> None:
    lines, marks, unit = gain_lines(two)
    assert unit == "own units"
    axes = Figure(figsize=(5.5, 2.9)).add_subplot()
    for x, start in (("kl", 20 / 80), ("sqrt", (20 / 80) ** 0.5), ("step", 1)):
        axes.clear()
        assert gain_axes(axes, lines, marks, x=x, unit=unit) is axes
        assert {text.get_text() for text in axes.texts} == {"first", "second"}
        assert axes.get_legend() is None
        assert "SD" not in axes.get_ylabel()
        drawn = min(line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) > 5)
        assert start <= drawn <= 4 * start  # the middle of the first window of four steps
    colors = {line.get_color() for line in axes.lines if len(line.get_xdata()) > 5}
    assert len(colors) == 2


def test_labels_that_would_touch_are_moved_apart() -> None:
    axes = Figure(figsize=(5.5, 2.9)).add_subplot()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    label_ends(axes, [(1.0, 0.5, name, "black") for name in "abc"])
    heights = sorted(text.xy[1] for text in axes.texts)
    assert min(np.diff(heights)) * axes.get_window_extent().height / 100 * 72 >= 8


def test_no_name_lies_on_another_or_on_a_line_wherever_the_lines_end() -> None:
    """Three runs that end early, at nearly one height, as the RL runs of a world do."""
    ends = {"one model, RLOO": (7.3, -1.83), "one model, A2C": (6.1, -1.72)}
    ends["one model, PPO"] = (10.3, -3.3)
    lines = []
    for name, (kl, gain) in ends.items():
        xs = np.linspace(0, kl, 30)
        empty = [None] * 30
        line = {"kl": xs.tolist(), "step": empty, "gain": (xs * gain / kl).tolist()}
        lines.append(
            {"run": name, "method": "rl", "reward": "gold", **line, "low": empty, "high": empty}
        )
    for width in (5.5, 3.03):
        figure = Figure(figsize=(width, 0.6 * width), layout="constrained")
        axes = gain_axes(figure.add_subplot(), lines)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in axes.texts]
        assert sorted(text.get_text() for text in axes.texts) == sorted(ends)
        for i, box in enumerate(boxes):
            assert box.x0 > axes.get_window_extent().x1
            assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_the_peak_and_the_safe_kl_are_marked_where_they_were_found(two: Overopt) -> None:
    _, marks, _ = gain_lines(two)
    for one in two.studies:
        own = {mark["kind"]: mark for mark in marks if mark["run"] == one.run}
        assert own["peak"]["kl"] == pytest.approx(one.found.best_kl.value)
        assert own["safe"]["kl"] == one.found.safe_kl.value
        assert own["safe"]["gain"] <= own["peak"]["gain"]


def test_the_script_draws_the_same_without_rmaudit(two: Overopt, tmp_path: Path) -> None:
    written = two.save(tmp_path, ("neurips",), ("kl", "log"))
    names = {path.name for path in written}
    assert {"gain-rl-neurips.pdf", "gain-rl-log-neurips.svg", "figures.py"} <= names
    lines, marks, unit = read_lines(tmp_path)
    again = pd.DataFrame(lines).explode(["kl", "step", "gain", "low", "high"])
    direct = pd.DataFrame(gain_lines(two)[0]).explode(["kl", "step", "gain", "low", "high"])
    for column in ("kl", "gain", "low"):
        assert np.allclose(again[column].astype(float), direct[column].astype(float))
    assert (unit, len(marks)) == ("own units", 4)
    code = (
        "import sys; sys.modules['rmaudit'] = None; import runpy; "
        "runpy.run_path('figures.py', run_name='__main__')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    for x in ("kl", "log"):
        assert (tmp_path / f"my-gain-rl-{x}.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("x", ["kl", "sqrt", "log", "step"])
def test_words_and_numbers_of_an_axis_are_plain(two: Overopt, x: str) -> None:
    """Figures read no text as mathematics, so that a "$" in a name is a dollar: none needs it."""
    lines, marks, _ = gain_lines(two)
    with with_style(STYLES["neurips"]):
        figure = Figure(figsize=(5.5, 2.9), layout="constrained")
        axes = gain_axes(figure.add_subplot(), lines, marks, x=x)
        FigureCanvasAgg(figure).draw()
        ticks = [t for t in axes.get_xticklabels() if t.get_text()]
        assert len(ticks) >= 3
        assert not any(mark in t.get_text() for t in ticks for mark in "$\\{")
        assert not any(mark in axes.get_xlabel() for mark in "$\\{")
        low, high = axes.get_xlim()
        shown = [t for t in ticks if low <= t.get_position()[0] <= high]
        boxes = sorted((t.get_window_extent() for t in shown), key=lambda box: box.x0)
        assert all(a.x1 < b.x0 for a, b in pairwise(boxes))  # none lies on its neighbour


def test_two_gold_lines_differ_without_their_colours(two: Overopt) -> None:
    lines, marks, _ = gain_lines(two)
    axes = gain_axes(Figure(figsize=(5.5, 2.9)).add_subplot(), lines, marks)
    solid = [line for line in axes.lines if line.get_linestyle() == "-" and
             len(line.get_xdata()) > 5]  # fmt: skip
    assert len(solid) == 2
    assert len({line.get_marker() for line in solid} - {"None", None}) == 2


def test_an_unknown_axis_is_a_usage_error(two: Overopt, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no axis is named 'kll'"):
        two.save(tmp_path, ("neurips",), ("kll",))


def test_long_names_of_runs_stay_in_the_figure() -> None:
    names = (
        "grpo-qwen2.5-1.5b-instruct-kl-0.05-seed-1",
        "grpo-qwen2.5-1.5b-instruct-kl-0.2-seed-1",
    )
    line = {"method": "rl", "reward": "gold", "kl": [0.0, 1.0], "step": [0, 9]}
    line |= {"low": [None, None], "high": [None, None]}
    lines = [{**line, "run": name, "gain": [0.0, 1.0 + i]} for i, name in enumerate(names)]
    drawing = Figure(figsize=(5.5, 2.9), layout="constrained")
    ax = gain_axes(drawing.add_subplot(), lines)
    canvas = FigureCanvasAgg(drawing)
    drawing.draw_without_rendering()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in ax.texts]
    assert [text.get_text().replace("\n", "") for text in ax.texts] == list(names)
    assert all(box.x1 < drawing.bbox.width + 1 for box in boxes)
    assert boxes[0].y1 < boxes[1].y0 + 1
