"""A real HTTP server on loopback that can be told to misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def true_reward(prompt: Any, output: str) -> float:
    """What the server answers: no two texts of the tests have the same."""
    return len(output) - len(str(prompt)) / 1000


@dataclass
class Answer:
    """One answer; `cut` closes the connection in the middle, `hang` waits until the test ends."""

    body: Any = None  # sent as JSON, or as it is if it is a string
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    hang: bool = False


Behaviour = Callable[["Server", dict[str, Any]], Answer]


def honest(server: Server, body: dict[str, Any]) -> Answer:
    return Answer({"rewards": [true_reward(t["prompt"], t["output"]) for t in body["texts"]]})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour = behaviour
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.under_way = self.most_under_way = 0
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that gave up are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.bodies.append(body)
            server.headers.append({**dict(self.headers), "path": self.path})
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
        try:
            answer = server.behaviour(server, body)
            if answer.hang:
                server.ended.wait(20)
                return
        finally:
            with server.lock:
                server.under_way -= 1
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        data = text.encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if answer.cut else data)
        if answer.cut:
            self.wfile.flush()
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(behaviour: Behaviour = honest) -> Iterator[Server]:
    with Server(behaviour) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()
