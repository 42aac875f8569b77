"""How far twenty questions are from their answers on a report's page, measured in a browser.

    pip install playwright
    python benchmarks/questions.py reports/example

Opens the page at 1280 by 900, does what each question needs, and prints a row of
`docs/questions.md` for each: the clicks made, the windows scrolled, the words that stand between
where reading starts and the end of the answer, and from these a number of seconds. Nobody was
timed: the seconds are 238 words per minute (Brysbaert 2019, silent reading of non-fiction) over
all those words, and 2.65 s per click and 1.35 s per window scrolled by the keystroke-level model
(Card, Moran, Newell 1980: deciding 1.35, pointing 1.1, pressing 0.2). A reader who scans is faster.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

READING, CLICK, SCROLL = 238 / 60, 1.35 + 1.1 + 0.2, 1.35
# Visible words from where reading starts to the end of the answer, in the order of the document.
WORDS = """([start, end]) => {
  const from = document.querySelector(start), to = document.querySelector(end);
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let words = 0;
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const before = from.compareDocumentPosition(node) & Node.DOCUMENT_POSITION_PRECEDING;
    const after = !to.contains(node) && to.compareDocumentPosition(node) & 4;
    if (before || after || !node.parentElement.checkVisibility()) continue;
    words += node.textContent.trim().split(/\\s+/).filter(Boolean).length;
  }
  return words;
}"""


@dataclass(frozen=True)
class Question:
    """A question, the links that lead to its answer, and the element that answers it."""

    text: str
    answer: str
    clicks: tuple[str, ...] = ()
    start: str = "#top"


def metric(name: str) -> str:
    """The row of a key number."""
    return f"section.plain tr:has(summary:text-is('{name}'))"


def audit(name: str) -> tuple[str, str]:
    """The link to an audit in the contents, and where it leads."""
    return f".contents a[href='#audit-{name}']", f"#audit-{name}"


def opened(text: str, name: str, answer: str) -> Question:
    """A question that an audit answers."""
    link, start = audit(name)
    return Question(text, f"{start} {answer}", (link,), start)


_REASON = ".reasons li:first-child a"
_CAUSE = "#findings article:first-of-type"
QUESTIONS = (
    Question("May I optimise against this model?", ".answer strong"),
    Question("Why (not)?", ".reasons"),
    Question("What do I do next?", ".next"),
    Question("How hard may I optimise: KL, n, beta?", metric("Safe KL")),
    Question("What was not measured, and what would it take?", ".gaps"),
    Question("Does it rank better than chance?", metric("Pairwise accuracy")),
    Question("How bad is the worst subset?", metric("Worst-subset accuracy")),
    opened("Which subset is worst?", "preference", "figure"),
    Question("Is this finding real?", f"{_CAUSE} .proof p", (_REASON,), _CAUSE),
    Question("Can I see an example?", f"{_CAUSE} .example", (_REASON,), _CAUSE),
    Question("Which command reproduces it?", f"{_CAUSE} > .note", (_REASON,), _CAUSE),
    Question("Does it prefer longer responses?", metric("Length bias")),
    opened("Which style does it pay for?", "style", "figure"),
    opened("Does it read the prompt?", "prompt", ".numbers"),
    opened("Which strings fool it?", "hacking", ".found"),
    opened("Are its probabilities to be believed?", "calibration", ".numbers"),
    opened("How much of deployment does the feedback cover?", "coverage", ".numbers"),
    Question(
        "What do I label next?",
        "#table-coverage-label_next tbody tr",
        (".next a",),
        "#table-coverage-label_next",
    ),
    Question("Which pairs does it get wrong?", "#items li", (".eyebrow a",), "header"),
    Question(
        "On which data, model and seed was this measured, at what cost?",
        "#origin dl:last-of-type",
        (".contents a[href='#origin']",),
        "#origin",
    ),
)


def ask(page: Page, question: Question) -> str:
    """A row of the table."""
    for link in question.clicks:
        if not page.locator(link).count():
            return f"| {question.text} | not there | | | |"
        page.locator(link).first.click()
    page.wait_for_timeout(150)
    found = page.locator(question.answer)
    answer = found.first
    if not found.count() or not answer.is_visible():
        return f"| {question.text} | not there | | | |"
    box = answer.bounding_box()
    windows = max(0, -(-int(box["y"] - 899) // 900)) if box else 0
    # Playwright's selectors know more than the document's: hand over the element itself.
    answer.evaluate("(node) => node.setAttribute('data-answer', '')")
    words = page.evaluate(WORDS, [question.start, "[data-answer]"])
    seconds = words / READING + CLICK * len(question.clicks) + SCROLL * windows
    return f"| {question.text} | {len(question.clicks)} | {windows} | {words} | {seconds:.0f} |"


def main(folder: str) -> None:
    """Print the table."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    print("| question | clicks | windows scrolled | words | seconds |")
    print("| --- | --- | --- | --- | --- |")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for question in QUESTIONS:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(Path(folder, "report.html").resolve().as_uri())
            print(ask(page, question), flush=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
