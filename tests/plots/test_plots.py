"""Figures: the right numbers in the right place, hostile labels, empty data, files for papers."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from figure_samples import HOSTILE, samples

from rmaudit.errors import SchemaError
from rmaudit.plots import KINDS, STYLES, canvas, draw, page_svg, shows, to_pdf, to_svg, visible
from rmaudit.results import Figure

SAMPLES = {figure.kind: figure for figure in samples()}
SVG = "{http://www.w3.org/2000/svg}"


def test_every_kind_has_a_sample() -> None:
    assert set(SAMPLES) == set(KINDS)


@pytest.mark.parametrize("kind", SAMPLES)
def test_svg_is_small_named_and_the_same_each_time(kind: str) -> None:
    figure = SAMPLES[kind]
    svg = to_svg(figure)
    root = ET.fromstring(svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", f"{figure.title}. {figure.alt}")
    assert [root[0].tag, root[0].text] == [SVG + "title", figure.title]
    assert [root[1].tag, root[1].text] == [SVG + "desc", figure.alt]
    assert to_svg(figure) == svg
    assert len(svg) < (45_000 if kind == "scatter" else 17_000)
    assert not re.search(r"\d{4}-\d\d-\d\d|metadata|<style", svg)


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_hostile_label_stays_text(kind: str) -> None:
    svg = to_svg(SAMPLES[kind])
    root = ET.fromstring(svg)
    assert "<script" not in svg
    assert "\u202e" not in svg
    if kind != "reliability":  # it has no labels of the data's own
        shown = " ".join(e.text or "" for e in root.iter(SVG + "text"))
        assert "<script>alert('x')" in shown  # as words, not as markup


def test_dollars_and_underscores_are_no_markup() -> None:
    rows = [{"label": t, "value": 1.0, "low": 0.5, "high": 1.5} for t in ("$x^2$ $\\bad{", "_a")]
    data = {"rows": rows, "xlabel": "cost in $ or $$", "reference": None}
    svg = to_svg({"kind": "intervals", "data": data, "title": "t", "alt": "a"})
    assert "$x^2$ $\\bad{" in svg
    assert "cost in $ or $$" in svg
    series = [{"name": "_hidden $", "x": [1, 2], "y": [1, 2], "style": "line"}]
    svg = to_svg({"kind": "curves", "data": {"series": series, "xlabel": "", "ylabel": ""}})
    assert "_hidden $" in svg


def test_visible_shows_what_a_reader_could_not_see() -> None:
    assert visible("a\u202eb\x00c\x7f\ud800\r\nd\te") == "a[U+202E]b\u2400c\u2421\ufffd\nd\te"
    assert visible("עברית 👩‍🔬 e\u0301") == "עברית 👩‍🔬 e\u0301"  # rightful uses stay as they are


def test_page_svg_takes_its_colours_and_font_from_the_page() -> None:
    for figure in SAMPLES.values():
        svg = to_svg(figure)
        page = page_svg(svg)
        assert "font-family" in svg
        assert "font-family" not in page
        assert "currentColor" in page
        for color in ("#1c2530", "#65717e", "#dfe4ea", "#ffffff", "#0072b2"):
            assert color not in page
        root = ET.fromstring(page)
        assert root.get("viewBox")
        assert root.get("width") is None


def test_references_resolve_and_ids_of_two_figures_differ() -> None:
    seen: set[str] = set()
    for figure in SAMPLES.values():
        svg = page_svg(to_svg(figure))
        ids = re.findall(r' id="([^"]+)"', svg)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'(?:href="|url\()#([\w-]+)', svg)) == set(ids)
        assert seen.isdisjoint(ids)
        seen.update(ids)


def test_intervals_are_drawn_where_the_numbers_are() -> None:
    ax = draw(SAMPLES["intervals"]).axes[0]
    rows = SAMPLES["intervals"].data["rows"]
    dots = ax.lines[0].get_xydata()
    assert dots[:3].tolist() == [[r["value"], i] for i, r in enumerate(rows[:3])]
    segments = ax.collections[0].get_segments()
    assert segments[1].tolist() == [[rows[1]["low"], 1], [rows[1]["high"], 1]]
    assert "undefined" in {t.get_text() for t in ax.texts}


def test_a_forest_plot_says_what_was_expected_and_what_came() -> None:
    outcomes = ("pass", "fail", "undecided", "")
    rows = [
        {"label": f"probe {i}", "value": i, "low": i - 1, "high": i + 1}
        | {"expected": "lower", "outcome": outcome}
        for i, outcome in enumerate(outcomes)
    ]
    ax = draw({"kind": "intervals", "data": {"rows": rows, "reference": 0}}).axes[0]
    (right,) = ax.child_axes
    said = [text.get_text() for text in right.get_yticklabels()]
    assert said == ["lower: pass", "lower: fail", "lower: undecided", ""]
    marks = {(tuple(line.get_ydata()), line.get_marker()) for line in ax.lines[:3]}
    assert marks == {((0, 3), "o"), ((2,), "o"), ((1,), "s")}  # a shape, not a colour alone


def test_heatmap_writes_each_number_and_a_dash_for_none() -> None:
    ax = draw(SAMPLES["heatmap"]).axes[0]
    written = [t.get_text() for t in ax.texts]
    assert written[:4] == ["0.90", "0.85", "0.80", "0.75"]
    assert written.count("–") == 1
    assert ax.yaxis_inverted()  # the first row is on top


def test_log_axes_have_plain_numbers_and_survive_zero() -> None:
    drawing = draw(SAMPLES["curves"])
    assert drawing.axes[0].get_xscale() == "log"
    assert "10^" not in to_svg(SAMPLES["curves"])
    series = [{"name": "a", "x": [0, 0], "y": [1, 2], "style": "line"}]
    data = {"series": series, "xlabel": "", "ylabel": "", "xscale": "log"}
    assert draw({"kind": "curves", "data": data}).axes[0].get_xscale() == "linear"


def test_scatter_says_how_much_it_thins() -> None:
    drawing = draw(SAMPLES["scatter"])
    assert drawing.axes[0].lines[0].get_xdata().size == 300  # 900 points, at most 400: each third
    assert drawing.axes[0].get_xlabel().endswith("\none in 3 points shown")


EMPTY = {
    "intervals": {"rows": [], "xlabel": "x", "reference": None},
    "curves": {"series": [], "xlabel": "x", "ylabel": "y", "xscale": "log"},
    "histogram": {"series": [], "xlabel": "x", "ylabel": "y"},
    "bars": {"labels": [], "series": [], "ylabel": "y", "reference": None},
    "heatmap": {"rows": ["a"], "columns": ["b"], "values": [[None]], "unit": "-", "center": None},
    "scatter": {"series": [], "xlabel": "x", "ylabel": "y"},
    "reliability": {"bins": [], "band": None, "smooth": None, "xlabel": "x", "ylabel": "y"},
}


@pytest.mark.parametrize("kind", EMPTY)
def test_nothing_to_draw_is_said(kind: str) -> None:
    assert "no data" in to_svg({"kind": kind, "data": EMPTY[kind]})


NAN: dict[str, dict[str, object]] = {
    "intervals": {"rows": [{"label": "a", "value": None, "low": None, "high": None}]},
    "curves": {"series": [{"name": "a", "x": [1, 2], "y": [None, None]}]},
    "histogram": {"series": [{"name": "a", "edges": [], "counts": []}]},
    "bars": {"labels": ["a"], "series": [{"name": "b", "values": [None]}]},
    "heatmap": EMPTY["heatmap"],
    "scatter": {"series": [{"name": "a", "x": [None, 1], "y": [1, None]}]},
    "reliability": {"bins": [{"confidence": 0.5, "accuracy": None, "count": 0}]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_shows_something_if_and_only_if_a_number_is_finite(kind: str) -> None:
    for data in (EMPTY[kind], NAN[kind]):
        assert not shows({"kind": kind, "data": data})
    assert shows(SAMPLES[kind])


def test_many_rows_and_cells_stay_readable_and_small() -> None:
    rows = [{"label": f"r{i}", "value": i, "low": i - 1, "high": i + 1} for i in range(300)]
    svg = to_svg({"kind": "intervals", "data": {"rows": rows, "xlabel": "", "reference": 0.0}})
    assert "60 of 300 rows shown" in svg
    names = [f"family {i}" for i in range(20)]
    values = np.linspace(-1, 1, 400).reshape(20, 20).tolist()
    data = {"rows": names, "columns": names, "values": values, "unit": "SD", "center": 0.0}
    svg = to_svg({"kind": "heatmap", "data": data})
    assert len(svg) < 90_000


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ({"kind": "interval", "data": {}}, "did you mean intervals"),
        ({"kind": "bars", "data": {"labels": ["a"]}}, "bars"),
        ({"kind": "heatmap", "data": {"rows": ["a"], "columns": ["b"], "values": []}}, "heatmap"),
        ({"kind": "curves", "data": {"series": [{"x": [1], "y": [1, 2]}]}}, "curves"),
    ],
)
def test_data_that_do_not_fit_are_one_clear_line(figure: dict[str, object], said: str) -> None:
    with pytest.raises(SchemaError, match=said) as error:
        draw(figure)
    assert "\n" not in str(error.value)


def test_unknown_style() -> None:
    with pytest.raises(SchemaError, match="neurips"):
        draw(SAMPLES["bars"], style="neurip")


def test_draws_on_given_axes() -> None:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing()
    left, right = drawing.subplots(1, 2)
    assert draw(SAMPLES["bars"], ax=left) is drawing
    assert draw(SAMPLES["scatter"], ax=right, style="icml") is drawing
    assert right.get_ylabel() == "margin (SD)"


@pytest.mark.parametrize("style", [s for s in STYLES if s != "page"])
def test_pdf_has_the_venue_width_and_truetype_fonts(style: str) -> None:
    pdf = to_pdf(SAMPLES["curves"], style)
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", pdf)
    assert box is not None
    assert float(box.group(1)) == pytest.approx(STYLES[style].width * 72, abs=0.01)
    assert b"/Type3" not in pdf
    assert b"/TrueType" in pdf or b"/CIDFontType2" in pdf
    assert b"CreationDate" not in pdf
    assert to_pdf(SAMPLES["curves"], style) == pdf


def test_matplotlib_loads_on_use_and_pyplot_never() -> None:
    code = (
        "import sys, rmaudit.plots as p; assert 'matplotlib' not in sys.modules;"
        "p.to_svg({'kind': 'scatter', 'data': {'series': []}});"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_figure_and_mapping_give_the_same_drawing() -> None:
    figure = SAMPLES["bars"]
    assert isinstance(figure, Figure)
    record = {"kind": "bars", "data": figure.data, "title": figure.title, "alt": figure.alt}
    assert to_svg(record) == to_svg(figure)
    assert HOSTILE in figure.data["labels"]


def test_a_legend_that_repeats_the_axis_is_left_out() -> None:
    series = {"name": "accuracy", "values": [0.5, 0.6], "low": None, "high": None}
    data = {"labels": ["a", "b"], "series": [series], "ylabel": "accuracy"}
    assert draw({"kind": "bars", "data": data}).axes[0].get_legend() is None
    data = {**data, "ylabel": "share"}
    assert draw({"kind": "bars", "data": data}).axes[0].get_legend() is not None


def test_a_line_may_be_labelled_at_its_end() -> None:
    series = [
        {"name": "chosen" if i == 0 else "", "end": f"pair {i + 1}", "color": 0, "line": i}
        | {"x": [0, 1], "y": [i, i + 1.0], "low": None, "high": None}
        for i in range(3)
    ]
    ax = draw({"kind": "curves", "data": {"series": series}}).axes[0]
    assert {text.get_text() for text in ax.texts} >= {"pair 1", "pair 2", "pair 3"}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["chosen"]


@pytest.mark.parametrize("kind", ["intervals", "heatmap"])
def test_a_layout_made_once_is_that_of_a_drawing_of_its_own(kind: str) -> None:
    figure = next(f for f in samples() if f.kind == kind)
    ours, own = io.StringIO(), io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas._save(draw(figure), ours, "svg", nothing, "page")
    with canvas.with_style(canvas.style_named("page")):
        draw(figure).savefig(own, format="svg", metadata=nothing)
    assert ours.getvalue() == own.getvalue()


def test_axes_have_their_numbers_and_units_beside_them() -> None:
    def ticks(*y: float, **data: str) -> set[str]:
        series = [{"name": "", "x": list(range(len(y))), "y": list(y), "style": "line"}]
        content = {"series": series, "xlabel": "", "ylabel": "", **data}
        root = ET.fromstring(to_svg({"kind": "curves", "data": content, "title": "t", "alt": "a"}))
        return {e.text or "" for e in root.iter(SVG + "text")}

    # No power of ten stands apart from the numbers, where the legend may lie on it.
    assert {"0", "1.5e\u221207"} <= ticks(0, 1.75e-7)
    assert {"0%", "100%"} <= ticks(0, 1, yunit="percent")
    # Nothing lies at audit 1.5, or at half a pair.
    assert not any("." in each for each in ticks(0, 1, 2, yunit="percent") if each)
    counts = {
        "series": [{"name": "", "edges": [0, 1, 2], "counts": [3, 1]}],
        "xlabel": "",
        "ylabel": "",
    }
    root = ET.fromstring(to_svg({"kind": "histogram", "data": counts, "title": "t", "alt": "a"}))
    shown = {e.text or "" for e in root.iter(SVG + "text")}
    assert {"0", "1", "2", "3"} <= shown
    assert "2.5" not in shown
    assert {"1%", "10%", "100%"} <= ticks(0.01, 1, yunit="percent", yscale="log")


def test_a_line_through_one_point_shows_nothing() -> None:
    def one(style: str, *x: float) -> dict[str, object]:
        series = [{"name": "", "x": list(x), "y": list(x), "style": style}]
        return {"kind": "curves", "data": {"series": series, "xlabel": "", "ylabel": ""}}

    assert not shows(one("line", 1.0))
    assert shows(one("line", 1.0, 2.0))
    assert shows(one("points", 1.0))
