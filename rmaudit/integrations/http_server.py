"""The HTTP of `rmaudit serve`: requests that lie, drip, never end or are too many cost nothing."""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rmaudit.integrations.serving import RequestError, RewardService

LARGEST_BODY = 256 << 20  # bytes of a request
PATIENCE = 120.0  # seconds that a client may be silent within its request
WHOLE = 600.0  # seconds that it may take to send it
MOST_CONNECTIONS = 512  # at once: each has a thread


class _Incoming(io.RawIOBase):
    """What a client sends, until it is silent for too long or takes too long in all."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._end = connection, time.monotonic() + WHOLE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"not whole after {WHOLE:g} s")
        self._connection.settimeout(min(PATIENCE, left))
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(PATIENCE)  # for the answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, service: RewardService, host: str, port: int) -> None:
        self.service = service
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection, if there is room for one more."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and leave the room to another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left, or stopped within its request, costs one line."""
        self.service.say(f"a request failed: {sys.exception()}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(PATIENCE)
        self.rfile = io.BufferedReader(_Incoming(self.connection))

    def do_GET(self) -> None:
        self._send(200, self.server.service.status)

    def do_POST(self) -> None:
        fault = self._length_fault()
        if fault is not None:
            self.close_connection = True
            self._send(*fault)
            return
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if len(body) < size:
            self._send(400, {"error": f"{len(body)} of {size} bytes came"})
            return
        try:
            request = json.loads(body)
        except (ValueError, RecursionError) as error:  # also of bytes that are no text
            self._send(400, {"error": f"not JSON: {error}"})
            return
        try:
            self._send(200, self.server.service.answer(request))
        except RequestError as error:
            self._send(400, {"error": str(error)})
        except Exception as error:  # the trainer is told and tries again; the server goes on
            self.server.service.say(f"a request failed: {error}")
            self._send(500, {"error": f"{type(error).__name__}: {error}"})

    def _length_fault(self) -> tuple[int, dict[str, str]] | None:
        """What keeps the end of the body from being known; None if it is."""
        given = self.headers.get_all("Content-Length") or [""]
        if "Transfer-Encoding" in self.headers or len(set(given)) > 1:
            return 400, {"error": "one Content-Length is wanted, and no Transfer-Encoding"}
        if not (given[0].isascii() and given[0].isdecimal()):
            return 411, {"error": "a Content-Length is wanted"}
        if len(given[0]) > 20 or int(given[0]) > LARGEST_BODY:
            return 413, {"error": f"over {LARGEST_BODY >> 20} MiB"}
        return None

    def _send(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print no line for each request."""


def http_server(service: RewardService, host: str, port: int) -> ThreadingHTTPServer:
    """An HTTP server of the service; port 0 takes a free one. `serve_forever` runs it."""
    return _Server(service, host, port)
