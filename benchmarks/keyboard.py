"""Use pages by keyboard alone in a headless Chromium: order, focus, search, filter, folds, links.

    pip install playwright
    python benchmarks/keyboard.py reports/example ...

Takes every page in the folders. Presses real keys, at the width of a desk and of a phone, and
prints each step that fails; exit 1 for any.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

WIDTHS = {"desk": 1280, "phone": 390}
MOST_STOPS = 2000
# What has the focus: what it is, where it stands in the document, whether it is seen.
FOCUS = """() => {
  const node = document.activeElement;
  if (!node || node === document.body || node === document.documentElement) return null;
  const box = node.getClientRects()[0] || { width: 0, height: 0, left: 0, top: 0 };
  const style = getComputedStyle(node);
  const [x, y] = [box.left + box.width / 2, box.top + Math.min(box.height / 2, 10)];
  const top = document.elementFromPoint(x, y);
  const all = [...document.querySelectorAll("*")];
  return {
    what: `${node.tagName.toLowerCase()}#${node.id} ${node.textContent.trim().slice(0, 40)}`,
    id: node.id, place: all.indexOf(node), hash: node.hash || "",
    seen: box.width > 0 && box.height > 0 && !!top && (node.contains(top) || top.contains(node)),
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
  };
}"""

# Whether the rewards of all items read the same.
ALIKE = """new Set([...document.querySelectorAll("#items > li")].map((item) =>
  [...item.querySelectorAll(".reward")].map((reward) => reward.textContent).join())).size < 2"""


class Walk:
    """One page at one width, and what failed on it."""

    def __init__(self, page: Page, where: str) -> None:
        self.page, self.where = page, where
        self.failed: list[str] = []

    def expect(self, holds: Any, step: str) -> None:
        """Note a step that fails."""
        if not holds:
            self.failed.append(f"{self.where}: {step}")

    def focus(self) -> dict[str, Any]:
        """What has the focus; empty for nothing."""
        return self.page.evaluate(FOCUS) or {}

    def press(self, *keys: str) -> dict[str, Any]:
        """Press keys; what has the focus then."""
        for key in keys:
            self.page.keyboard.press(key)
        self.page.wait_for_timeout(60)
        return self.focus()

    def stops(self) -> Iterator[dict[str, Any]]:
        """Every stop of the Tab key from where the focus is, until it leaves the page."""
        for _ in range(MOST_STOPS):
            self.page.keyboard.press("Tab")
            stop = self.focus()
            if not stop:
                return
            yield stop
        self.expect(False, f"more than {MOST_STOPS} stops: the focus is caught")

    def to(self, selector: str) -> bool:
        """Press Tab until an element has the focus."""
        wanted = f"() => document.activeElement.matches({selector!r})"
        for _ in self.stops():
            if self.page.evaluate(wanted):
                return True
        self.expect(False, f"Tab does not reach {selector}")
        return False

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self.page.evaluate(f"() => {expression}")

    def in_view(self, identifier: str) -> bool:
        """Whether an element begins within the window."""
        box = f"document.getElementById({identifier!r}).getBoundingClientRect()"
        return bool(self.js(f"{box}.top >= -1 && {box}.top < innerHeight && {box}.width > 0"))


def tab_order(walk: Walk) -> None:
    """Every stop is seen, outlined, and comes after the one before; contents can be skipped."""
    stops = list(walk.stops())
    if walk.js("!!document.querySelector('nav')"):
        walk.expect(stops and stops[0]["hash"] == "#findings", "the first stop is no skip link")
    for stop in stops:
        walk.expect(stop["seen"], f"focus is not seen: {stop['what']}")
        walk.expect(stop["outlined"], f"focus has no outline: {stop['what']}")
    places = [stop["place"] for stop in stops]
    walk.expect(places == sorted(places), "Tab does not follow the order of the document")


def find_and_filter(walk: Walk) -> None:
    """The skip link, then search, severities and the button that opens all."""
    walk.press("Tab")
    walk.expect(walk.press("Enter").get("id") == "findings", "the skip link moves no focus")
    if not walk.js("!!document.querySelector('.filter')"):
        return
    shown = "[...document.querySelectorAll('.proof')].filter((p) => !p.closest('[hidden]')).length"
    before = walk.js(shown)
    if not walk.to("#search"):
        return
    walk.page.keyboard.type("zzzz")
    walk.expect(walk.js(shown) == 0, "a search for nothing leaves findings")
    walk.expect(walk.js("matches.textContent") == "0 shown", "the search does not say its matches")
    walk.press("Escape")
    walk.expect(walk.js(shown) == before, "Escape does not clear the search")
    walk.press("Tab", "Space")
    walk.expect(walk.js(shown) < before, "Space on a severity hides nothing")
    walk.press("Space")
    walk.to("#unfold")
    walk.press("Enter")
    sections = "[...document.querySelectorAll('details.paper')].every((d) => d.open)"
    walk.expect(walk.js(sections), "Open all leaves sections folded")
    walk.expect(walk.focus().get("id") == "unfold", "Open all loses the focus")
    walk.press("Enter")


def links(walk: Walk) -> None:
    """A reason, an audit and the way back; a link opens what it leads to, also the second time."""
    for selector in (".reasons a", '.contents .audits a[href^="#audit-"]'):
        if not walk.js(f"!!document.querySelector({selector!r})"):
            continue
        walk.page.goto(walk.page.url.split("#")[0])
        if selector.startswith(".contents") and not walk.js("document.querySelector('.menu').open"):
            walk.to(".menu > summary")
            walk.press("Enter")
        if not walk.to(selector):
            continue
        target = walk.focus()["hash"][1:]
        walk.press("Enter")
        walk.expect(walk.in_view(target), f"{selector}: the target is not in view")
        inside = f"document.getElementById({target!r}).contains(document.activeElement)"
        fold = f"document.getElementById({target!r}).querySelector('details')"
        if walk.js(f"!{fold}"):
            continue
        walk.expect(walk.js(f"{fold}.open"), f"{selector}: the target stays folded")
        walk.press("Tab")
        walk.expect(walk.js(inside), f"{selector}: the next Tab is not in the target")
        if not walk.js(f"document.activeElement === {fold}.querySelector('summary')"):
            walk.to("summary")
        walk.press("Space")
        closed = "document.activeElement.parentElement.open"
        walk.expect(not walk.js(closed), f"{selector}: Space does not fold")
        walk.press("Enter")
        walk.expect(walk.js(closed), f"{selector}: Enter does not unfold")
        walk.js(f"{fold}.open = false")
        walk.js(f"document.querySelector('a[href=\"#{target}\"]').focus()")
        walk.press("Enter")
        walk.expect(walk.js(f"{fold}.open"), f"{selector}: the same link does not open it again")
    walk.to(".back a")
    walk.press("Enter")
    walk.expect(walk.in_view("top"), "the way back does not lead to the summary")


def deep_link(walk: Walk) -> None:
    """A page opened at a finding shows it open."""
    address = walk.page.url.split("#")[0]
    if walk.js("!!document.getElementById('finding-1')"):
        walk.page.goto("about:blank")
        walk.page.goto(f"{address}#finding-1")
        walk.page.wait_for_timeout(100)
        walk.expect(walk.in_view("finding-1"), "a deep link does not show the finding")


def samples(walk: Walk) -> None:
    """Search, order and more items."""
    count = "document.querySelectorAll('#items > li').length"
    walk.to("#search")
    walk.page.keyboard.type("zzzz")
    walk.expect(walk.js(count) == 0, "a search for nothing leaves items")
    walk.press("Escape")
    walk.to("#sort")
    first = "document.querySelector('#items > li').textContent"
    before, orders = walk.js(first), walk.js("document.getElementById('sort').options.length")
    # Pairs whose rewards are all the same, as a verifier's, stand as they are in every order.
    alike = walk.js(ALIKE)
    shown = set()
    for place in range(1, orders):
        walk.press("ArrowDown")
        chosen = walk.js("document.getElementById('sort').selectedIndex")
        walk.expect(chosen == place, "an arrow does not choose an order")
        shown.add(walk.js(first))
    walk.expect(shown - {before} or alike, "an arrow does not sort")
    while walk.js("!more.hidden"):
        walk.to("#more")
        start = walk.js(count)
        walk.press("Enter")
        walk.expect(walk.js(count) > start, "Show more shows no more")
        new = f"document.querySelectorAll('#items > li')[{start}]"
        walk.expect(walk.js(f"document.activeElement === {new}"), "Show more loses the focus")


STEPS = {  # by what a page must hold for them
    "body": tab_order,
    ".skip": find_and_filter,
    ".contents": links,
    ".finding": deep_link,
    "#items": samples,
}


def main(*folders: str) -> int:
    """Walk every folder's pages; the number of failed steps decides the exit code."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    failed: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for folder in folders:
            for name, width in WIDTHS.items():
                page = browser.new_page(viewport={"width": width, "height": 900})
                for path in sorted(Path(folder).resolve().glob("*.html")):
                    for selector, step in STEPS.items():
                        page.goto("about:blank")
                        page.goto(path.as_uri())
                        walk = Walk(page, f"{folder}/{path.name} ({name}), {step.__name__}")
                        if walk.js(f"!!document.querySelector({selector!r})"):
                            step(walk)
                        failed += walk.failed
                page.close()
        browser.close()
    print("\n".join(failed))
    print(f"{len(failed)} steps failed in {len(folders)} folders, each at {len(WIDTHS)} widths")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
