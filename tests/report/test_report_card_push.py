"""`rmaudit card --push` through the real huggingface_hub, to a local stand-in of the hub's API."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "reports" / "example"
CARD = "---\nlicense: mit\n---\n\n# Mine\n\nKept as it is.\n"


class Hub(ThreadingHTTPServer):
    """Holds one model's card; `pushed` are its commits, (summary, content, pull request)."""

    def __init__(self, card: str | None) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.card = card
        self.pushed: list[tuple[str, str, bool]] = []
        self.token = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.send_card(body=False)

    def do_GET(self) -> None:
        self.send_card(body=True)

    def send_card(self, *, body: bool) -> None:
        if "/org/model/resolve/" not in self.path:
            self.answer(404, {}, {"X-Error-Code": "RepoNotFound"})
        elif self.server.card is None:
            self.answer(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": "0" * 40})
        else:
            content = self.server.card.encode()
            self.send_response(200)
            head = {"ETag": '"one"', "X-Repo-Commit": "0" * 40, "Content-Length": len(content)}
            for name, value in head.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content if body else b"")

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.token = self.headers.get("Authorization", "")
        if self.path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            paths = [each["path"] for each in json.loads(text)["files"]]
            modes = [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]
            self.answer(200, {"files": modes})
        elif "/commit/" in self.path and "Bearer good" in self.server.token:
            head, file = (json.loads(line)["value"] for line in text.splitlines()[:2])
            content = base64.b64decode(file["content"]).decode()
            proposed = "create_pr=1" in self.path
            self.server.pushed.append((head["summary"], content, proposed))
            made = {"commitUrl": f"{self.server.address}/org/model/commit/1", "commitOid": "1"}
            if proposed:
                made["pullRequestUrl"] = f"{self.server.address}/org/model/discussions/7"
            self.answer(200, made)
        else:
            self.answer(401, {"error": "Invalid token"})

    def answer(self, code: int, body: object, head: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(code)
        for name, value in (head or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(request: pytest.FixtureRequest) -> Iterator[Hub]:
    server = Hub(getattr(request, "param", CARD))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def push(
    hub: Hub, folder: Path, *options: str, token: str = "good"
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(folder),
        "HF_TOKEN": token,
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-m", "rmaudit", "card", str(EXAMPLE), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_the_card_on_the_hub_gets_the_audit_and_keeps_the_rest(hub: Hub, tmp_path: Path) -> None:
    done = push(hub, tmp_path, "--push", "org/model")
    assert done.returncode == 0, done.stderr
    assert f"pushed: {hub.address}/org/model/commit/1" in done.stderr.replace("\n", "")
    ((summary, card, proposed),) = hub.pushed
    assert "rmaudit" in summary
    assert not proposed
    assert "license: mit" in card
    assert "Kept as it is." in card
    assert "model-index:" in card
    assert "Can it be optimised against?" in card


@pytest.mark.parametrize("hub", [None], indirect=True)
def test_a_model_without_a_card_gets_one_as_a_pull_request(hub: Hub, tmp_path: Path) -> None:
    done = push(hub, tmp_path, "--push", "org/model", "--pull-request")
    assert done.returncode == 0, done.stderr
    assert "discussions/7" in done.stderr
    ((_, card, proposed),) = hub.pushed
    assert proposed
    assert card.startswith("---\n")


def test_what_the_hub_refuses_is_one_line_and_changes_nothing(hub: Hub, tmp_path: Path) -> None:
    done = push(hub, tmp_path, "--push", "org/model", token="bad")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --push org/model: ")
    assert "Traceback" not in done.stderr
    assert hub.pushed == []
