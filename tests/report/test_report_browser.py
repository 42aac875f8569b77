"""The page in a real browser: no error, the same without scripts, no sideways scrolling."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from browser import browse, needs_browser
from report_samples import Model, sample_report

from rmaudit.plots import visible
from rmaudit.report.page import render

pytestmark = needs_browser
# Measures a page in a frame as wide as a phone: how far it reaches, and what sticks out.
MEASURE = """<!doctype html><body><iframe id="phone" src="report.html"
style="width:390px;height:800px;border:0"></iframe><p id="answer">not measured</p><script>
document.getElementById("phone").addEventListener("load", (event) => {
  const inner = event.target.contentDocument;
  for (const fold of inner.querySelectorAll("details")) fold.open = true;
  const wide = [...inner.querySelectorAll("body *")].filter((e) =>
    e.getBoundingClientRect().right > 391 && !e.closest(".wide, svg"));
  document.getElementById("answer").textContent =
    `width ${inner.documentElement.scrollWidth} beyond ${wide.length} ` +
    `folds ${inner.querySelectorAll("details").length} ` + wide.map((e) => e.outerHTML);
});
</script>"""
# The page beside itself, scripts forbidden in the second frame: is every box and word in its place?
COMPARE = """<!doctype html><body>
<iframe src="report.html" style="width:1100px;height:800px"></iframe>
<iframe src="report.html" style="width:1100px;height:800px" sandbox="allow-same-origin"></iframe>
<p id="answer">not measured</p><script>
const look = (frame) => {
  const page = frame.contentDocument;
  // The search box alone needs a script: it is there with one, and its place is kept without.
  const own = [...page.querySelectorAll("body *")].filter((e) => !e.closest(".filter"));
  const boxes = own.map((e) => {
    const box = e.getBoundingClientRect();
    return [box.x, box.y, box.width, box.height].map(Math.round).join();
  });
  page.querySelector(".filter")?.style.setProperty("visibility", "hidden");
  return { words: page.body.innerText, boxes: boxes.join(" "), count: boxes.length };
};
addEventListener("load", () => {
  const [scripted, bare] = [...document.querySelectorAll("iframe")].map(look);
  document.getElementById("answer").textContent = `words ${scripted.words === bare.words} ` +
    `boxes ${scripted.boxes === bare.boxes} ${bare.count} ${bare.words.length}`;
});
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    text = render(sample_report())
    (folder / "report.html").write_text(text)
    (folder / "phone.html").write_text(MEASURE)
    (folder / "compare.html").write_text(COMPARE)
    (folder / "bare.html").write_text(re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))
    # The same page with a script that its policy does not know.
    (folder / "injected.html").write_text(
        text.replace("<main>", "<main><script>document.title = 'owned'</script>")
    )
    return folder


def test_the_page_renders_without_a_console_error(folder: Path) -> None:
    dom, console = browse(folder, "report.html", "--dump-dom")
    assert console == []
    assert "Can I optimise against this model?" in dom
    assert f"<title>Audit of {visible(Model.name).replace('<', '&lt;').replace('>', '&gt;')}" in dom


def test_a_script_that_slipped_in_would_not_run(folder: Path) -> None:
    # Also shows that the test above would have seen an error.
    dom, console = browse(folder, "injected.html", "--dump-dom")
    assert "<title>owned" not in dom
    assert any("Content Security Policy" in line for line in console)


def test_the_page_reads_the_same_with_scripts_disabled(folder: Path) -> None:
    dom, console = browse(folder, "compare.html", "--dump-dom")
    answer = dom.partition('id="answer">')[2].partition("</p>")[0].split()
    assert answer[:4] == ["words", "true", "boxes", "true"], answer
    assert int(answer[4]) > 500
    assert int(answer[5]) > 3000
    # The browser says that it kept the second frame's script from running, and nothing else.
    assert len(console) == 1
    assert "Blocked script execution" in console[0]


def test_nothing_sticks_out_on_a_phone(folder: Path) -> None:
    dom, console = browse(folder, "phone.html", "--dump-dom")
    answer = dom.partition('id="answer">')[2].partition("</p>")[0]
    assert answer.startswith("width 390 beyond 0 folds "), answer
    assert int(answer.split()[5]) >= 6  # the folds were open while it was measured
    assert console == []


def test_paper_holds_the_numbers_of_every_audit_and_not_its_tables(folder: Path) -> None:
    reader = shutil.which("pdftotext")
    if reader is None:
        pytest.skip("pdftotext (poppler-utils) is not on this machine")
    pdf = folder / "page.pdf"
    browse(folder, "bare.html", f"--print-to-pdf={pdf}")
    text = subprocess.run(
        [reader, "-layout", str(pdf), "-"], capture_output=True, text=True, check=True
    ).stdout
    text = " ".join(text.split())  # wherever the lines break
    assert "Padding effect" in text  # a number of a folded audit
    assert "Margin against length" in text  # its figure
    assert "padded rejected" not in text  # an example


def test_no_heading_of_an_audit_stands_alone_at_the_foot_of_a_page(folder: Path) -> None:
    reader = shutil.which("pdftotext")
    if reader is None:
        pytest.skip("pdftotext (poppler-utils) is not on this machine")
    style = re.search(r"<style>.*?</style>", render(sample_report()), flags=re.DOTALL)
    assert style is not None
    audit = (
        '<section class="audit"><details class="paper"><summary><h2>Name</h2>'
        '<span class="question">Question?</span></summary><ul class="found"><li>'
        '<span class="severity">high</span> <a>Title</a></li></ul><p>Meaning</p>'
        "</details></section>"
    )
    # Every offset from the head of a page, in steps of less than a line.
    sheets = "".join(
        f'<div style="break-before:page;height:{at}mm"></div>{audit}' for at in range(200, 270, 3)
    )
    (folder / "foot.html").write_text(f"<!doctype html>{style.group()}<main>{sheets}</main>")
    pdf = folder / "foot.pdf"
    browse(folder, "foot.html", f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    text = subprocess.run(
        [reader, "-layout", str(pdf), "-"], capture_output=True, text=True, check=True
    ).stdout
    feet = [page.split()[-1] for page in text.split("\f") if page.split()]
    assert text.count("Question?") == 24
    assert {"Name", "Question?"}.isdisjoint(feet), feet
