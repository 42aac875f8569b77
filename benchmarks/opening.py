"""How long Chromium takes to open a page: from the navigation's start to the end of its load.

Spoken to over a pipe (``--remote-debugging-pipe``: messages of JSON, each with a NUL after it), so
that it needs no library. The page's own clock (`PerformanceNavigationTiming.loadEventEnd`) counts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--remote-debugging-pipe",
)
LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def seconds_to_open(page: Path, times: int = 3) -> float | None:
    """The least of some openings, in seconds; None without Chromium."""
    if CHROMIUM is None:
        return None
    # Helpers of the browser may write a moment longer than it runs.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        (ours, said), (heard, theirs) = os.pipe(), os.pipe()
        command = ["bash", "-c", f'exec "$@" 3<&{ours} 4>&{theirs}', "chromium", CHROMIUM, *FLAGS]
        browser = subprocess.Popen(
            [*command, f"--user-data-dir={profile}"],
            pass_fds=(ours, theirs),
            stderr=subprocess.DEVNULL,
        )
        os.close(ours)
        os.close(theirs)
        with os.fdopen(said, "wb", 0) as to, os.fdopen(heard, "rb") as answers:
            spoken = _Spoken(to, answers)
            target = spoken("Target.createTarget", url="about:blank")["targetId"]
            spoken.session = spoken("Target.attachToTarget", targetId=target, flatten=True)[
                "sessionId"
            ]
            spoken("Page.enable")
            found = []
            for _ in range(times):
                spoken("Page.navigate", url=page.resolve().as_uri())
                spoken.wait_for("Page.loadEventFired")
                value = 0.0
                while value <= 0:  # the event is fired a moment before it has ended
                    value = spoken("Runtime.evaluate", expression=LOADED)["result"]["value"]
                found.append(value / 1000)
            browser.terminate()
        browser.wait()
    return min(found)


class _Spoken:
    """Calls of the browser's protocol and what it says meanwhile."""

    def __init__(self, to: Any, answers: Any) -> None:
        self._to, self._answers, self._number = to, answers, 0
        self._events: list[str] = []
        self.session: str | None = None

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        self._to.write(json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self._number:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']['message']}")
                return dict(said["result"])
            self._events.append(said.get("method", ""))

    def wait_for(self, event: str) -> None:
        """Read on until the event comes, if it has not."""
        while event not in self._events:
            self._events.append(self._next().get("method", ""))
        self._events.clear()

    def _next(self) -> dict[str, Any]:
        read = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser has ended")
            read += byte
        return dict(json.loads(read))


if __name__ == "__main__":
    import sys

    for name in sys.argv[1:]:
        print(f"{seconds_to_open(Path(name)):.2f} s  {name}")
