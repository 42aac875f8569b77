"""Names in figures: none is cut, none lies on another, none runs out of the drawing."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.axes._secondary_axes import SecondaryAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from matplotlib.text import Text

from rmaudit.plots import draw
from rmaudit.plots.cells import _numbers
from rmaudit.plots.names import fit, shared_start, wrap

TREE = [
    f"Helpfulness/{name}"
    for name in (
        "Planning/Household Budget and Savings",
        "Dialogue/Small Talk",
        "Software/Debugging and Implementation of Services",
        "Writing/Professional Correspondence Generation",
        "Rewriting/QualityAssessment of a Former Draft",
        "Translation/GeneralExcerpt Language Translation",
    )
]
SNAKES = ["adversarial_instructions_without_reference_answer", "adversarial_manual", "natural"]
WORDS = ["x" * 60, "长名字" * 12, "short"]


def figures(names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """One figure of each kind that shows names of the data's own."""
    values = [0.7 - 0.05 * i for i in range(len(names))]
    low, high = [v - 0.05 for v in values], [v + 0.05 for v in values]
    rows = [
        {"label": n, "value": v, "low": a, "high": b}
        for n, v, a, b in zip(names, values, low, high, strict=True)
    ]
    outcomes = itertools.cycle(["pass", "fail", "undecided"])
    said = [{**row, "expected": "lower", "outcome": next(outcomes)} for row in rows]
    axis = "share of pairs in which the chosen response gets the higher reward, 95% interval"
    yield "intervals", {"rows": rows, "xlabel": axis, "reference": 0.5}
    yield "intervals", {"rows": said, "xlabel": "change (reward SD)", "reference": 0.0}
    series = [{"name": n, "values": values, "low": low, "high": high} for n in names[:2]]
    yield "bars", {"labels": names, "series": series, "ylabel": axis, "reference": None}
    for n in (2, len(names)):
        cells = [[a * b for a in values[:n]] for b in values]
        yield (
            "heatmap",
            {"rows": names, "columns": names[:n], "values": cells, "unit": "share", "xlabel": "a"},
        )
    for key in ("name", "end"):
        lines = [
            {key: n, "x": [0, 1], "y": [v, v + 0.1]} for n, v in zip(names, values, strict=True)
        ]
        yield "curves", {"series": lines, "xlabel": "KL (nats)", "ylabel": "gain (SD)"}
    stairs = [{"name": n, "edges": [0, 1, 2], "counts": [3, 4]} for n in names]
    yield "histogram", {"series": stairs, "xlabel": "margin", "ylabel": "pairs"}
    points = [
        {"name": n, "x": [*range(200)], "y": [v] * 200} for n, v in zip(names, values, strict=True)
    ]
    yield "scatter", {"series": points, "xlabel": "margin", "ylabel": "pairs"}


def drawn(drawing: Drawing) -> list[Text]:
    """Texts that are seen: not those of ticks beyond the ends of an axis."""
    hidden: set[int] = set()
    for outer in drawing.axes:
        for ax in (outer, *outer.child_axes):
            assert isinstance(ax, Axes | SecondaryAxis)
            for axis in (ax.xaxis, ax.yaxis):
                low, high = sorted(axis.get_view_interval())
                for tick in axis.get_major_ticks():
                    if not low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                        hidden |= {id(tick.label1), id(tick.label2)}
    texts: list[Text] = drawing.findobj(Text)  # type: ignore[assignment]
    return [t for t in texts if t.get_text().strip() and t.get_visible() and id(t) not in hidden]


@pytest.mark.parametrize(
    ("names", "style"), [(TREE, "page"), (TREE, "acl"), (SNAKES, "page"), (WORDS, "page")]
)
def test_no_name_is_cut_or_lies_on_another(names: list[str], style: str) -> None:
    for kind, data in figures(names):
        drawing = draw({"kind": kind, "data": data}, style=style)
        canvas = FigureCanvasAgg(drawing)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")
            drawing.draw_without_rendering()
        texts = drawn(drawing)
        boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts]
        for text, box in zip(texts, boxes, strict=True):
            where = f"{kind} {style}: {text.get_text()!r}"
            assert "…" not in text.get_text(), where
            assert box.x0 > -1.5, where
            assert box.y0 > -1.5, where
            assert box.x1 < drawing.bbox.width + 1.5, where
            assert box.y1 < drawing.bbox.height + 1.5, where
        for (a, one), (b, two) in itertools.combinations(zip(texts, boxes, strict=True), 2):
            if a.get_rotation() % 90 and b.get_rotation() % 90:
                continue  # boxes of turned names overlap where the names do not
            wide = min(one.x1, two.x1) - max(one.x0, two.x0)
            high = min(one.y1, two.y1) - max(one.y0, two.y0)
            assert min(wide, high) <= 1.5, f"{kind} {style}: {a.get_text()!r} on {b.get_text()!r}"
        place = drawing.axes[0].get_position()
        assert place.width > 0.25, f"{kind} {style}: names leave no room for the drawing"
        assert place.height > 0.25, f"{kind} {style}"
        shown = "".join("".join(text.get_text().split()) for text in texts)
        for name in data.get("rows", data.get("labels", ()))[:3]:
            whole = name["label"] if isinstance(name, dict) else name
            rest = whole.removeprefix(shared_start(names))
            assert "".join(rest.split()) in shown, f"{kind} {style}: {whole} is not whole"


def test_a_shared_start_is_said_once_and_only_where_names_do_not_fit() -> None:
    data = {"rows": [{"label": n, "value": 1, "low": 0, "high": 2} for n in TREE]}
    ax = draw({"kind": "intervals", "data": data}).axes[0]
    assert [t.get_text() for t in ax.texts] == ["names begin with “Helpfulness/”"]
    assert ax.get_yticklabels()[1].get_text() == "Dialogue/Small Talk"
    total = {"rows": [{"label": "all", "value": 1, "low": 0, "high": 2}, *data["rows"]]}
    ax = draw({"kind": "intervals", "data": total}).axes[0]
    assert [t.get_text() for t in ax.texts] == ["other names begin with “Helpfulness/”"]
    assert [t.get_text() for t in ax.get_yticklabels()][:3:2] == ["all", "Dialogue/Small Talk"]
    short = {"rows": [{"label": f"urgent/{i}", "value": i, "low": 0, "high": 9} for i in range(3)]}
    ax = draw({"kind": "intervals", "data": short}).axes[0]
    assert not ax.texts
    assert ax.get_yticklabels()[1].get_text() == "urgent/1"


def test_a_start_is_taken_at_separators_alone() -> None:
    assert shared_start(["Help/Chat/A", "Help/Chat/B"]) == "Help/Chat/"
    assert shared_start(["Helpful", "Helpless"]) == ""  # within a word
    assert shared_start(["Help/", "Help/B"]) == ""  # nothing would be left of the first
    assert shared_start(["Help/A"]) == ""
    assert shared_start(["Help/A", "Harm/A"]) == ""
    assert fit(["a/b/c", "a/b/d"], 10) == (["a/b/c", "a/b/d"], "")


def test_names_break_at_separators_and_numbers_stay_whole() -> None:
    assert wrap("Generation/Professional Content", 14) == "Generation/\nProfessional\nContent"
    assert wrap("accuracy 0.5 at 2:30 pm", 14) == "accuracy 0.5\nat 2:30 pm"
    assert wrap("from -1.5 to 3.25", 9) == "from -1.5\nto 3.25"
    assert wrap("x" * 10, 4) == "xxxx\nxxxx\nxx"
    assert wrap("名前" * 4, 8) == "名前名前\n名前名前"  # a sign takes the width of two letters
    assert wrap("says “a_”", 8) == "says\n“a_”"  # no quotation mark begins a line


def test_numbers_that_do_not_fit_into_cells_give_way_to_a_scale() -> None:
    for n, written in ((4, True), (16, False)):
        columns = [f"subset {i}" for i in range(n)]
        data = {"rows": ["a", "b"], "columns": columns, "values": [[-0.25] * n, [0.5] * n]}
        drawing = draw({"kind": "heatmap", "data": {**data, "unit": "SD", "center": 0.0}})
        assert bool(drawing.axes[0].texts) is written
        assert len(drawing.axes) == 2 - written  # the colours' scale


def test_what_rounds_to_zero_in_a_cell_has_no_sign() -> None:
    assert _numbers(np.array([[-0.001, -0.25], [0.001, np.nan]])).tolist() == [
        ["0.00", "\u22120.25"],
        ["0.00", "\u2013"],
    ]
