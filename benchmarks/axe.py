"""Hold pages against axe-core in a headless Chromium: light, dark, phone; folded and unfolded.

    npm install axe-core
    python benchmarks/axe.py node_modules/axe-core/axe.min.js reports/example/report.html ...

Prints each violation with its rule, the page, how it was shown and the elements; exit 1 for any.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

LOOKS = {"light": (1280, False), "dark": (1280, True), "phone": (390, False)}
# The page's own policy would forbid the checker's script: it is taken out of the copy.
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_RUN = """<script>%s</script><script>
addEventListener("load", async () => {
  if (%s) for (const fold of document.querySelectorAll("details")) fold.open = true;
  const found = await axe.run(document, { resultTypes: ["violations"] });
  const short = found.violations.map((v) => ({ rule: v.id, help: v.help,
    nodes: v.nodes.map((n) =>
      `${n.html.slice(0, 200)} ${(n.failureSummary || "").slice(0, 300)}`) }));
  const answer = document.createElement("pre");
  answer.id = "axe-answer";
  answer.textContent = JSON.stringify({ violations: short, passes: found.passes.length });
  document.body.append(answer);
});
</script></body>"""


@dataclass(frozen=True)
class Violation:
    """One broken rule on one page."""

    page: str
    look: str
    rule: str
    help: str
    nodes: list[str]


def check(page: Path, axe: str, chromium: str) -> list[Violation]:
    """The violations of a page in every look, folded and unfolded."""
    text = _POLICY.sub("", page.read_text(encoding="utf-8"))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for look, (width, dark) in LOOKS.items():
            for unfold in ("false", "true"):
                copy = Path(folder) / page.name
                script = _RUN % (axe, unfold)
                copy.write_text(text.replace("</body>", script, 1), encoding="utf-8")
                answer = _browse(copy, width, dark, chromium, Path(folder) / "profile")
                if not answer["passes"]:
                    raise SystemExit(f"{page}: axe passed no rule, so it did not run")
                found += [
                    Violation(str(page), f"{look}, unfolded {unfold}", **each)
                    for each in answer["violations"]
                ]
    return found


def _browse(page: Path, width: int, dark: bool, chromium: str, profile: Path) -> dict:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"]
    flags += ["--disable-background-networking", f"--user-data-dir={profile}"]
    flags += [f"--window-size={width},900", "--virtual-time-budget=60000"]
    flags += ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [chromium, *flags, page.as_uri()], capture_output=True, text=True, check=True, timeout=300
    )
    match = re.search(r'<pre id="axe-answer">(.*?)</pre>', done.stdout, re.DOTALL)
    if match is None:
        raise SystemExit(f"{page}: axe gave no answer")
    return json.loads(html.unescape(match[1]))


def main(axe: str, *pages: str) -> int:
    """Check the pages; the number of broken rules decides the exit code."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is not on this machine")
    source = Path(axe).read_text(encoding="utf-8")
    total = 0
    for page in pages:
        for violation in check(Path(page), source, chromium):
            total += 1
            print(f"{violation.page} ({violation.look}): {violation.rule}: {violation.help}")
            for node in violation.nodes[:4]:
                print(f"    {node}")
    print(f"{total} violations on {len(pages)} pages, each light, dark and on a phone")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
