"""A time by which all of an answer must be there: status line, headers and body alike.

httpx's time limits are for one read; a server that sends a byte a minute keeps within them for
days. Here everything that a connection does is given no more than what is left of the time of
the answer that its thread waits for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2
import httpx2

_OURS = threading.local()  # `end`, in seconds of the monotonic clock


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """No request of this thread goes on after so many seconds: `httpx2.ReadTimeout` then."""
    _OURS.end = time.monotonic() + seconds
    try:
        yield
    finally:
        del _OURS.end


def bound(client: httpx2.Client) -> None:
    """Make a client's connections, by a proxy or not, keep to `within`."""
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx2.HTTPTransport):
            pool = transport._pool
            pool._network_backend = _Backend(pool._network_backend)


def _left(timeout: float | None) -> float | None:
    """What a read or a write may take, in seconds."""
    end = getattr(_OURS, "end", None)
    if end is None:
        return timeout
    left = float(end - time.monotonic())
    if left <= 0:
        raise httpcore2.ReadTimeout("the time of the answer is over")
    return left if timeout is None else min(timeout, left)


class _Backend(httpcore2.NetworkBackend):
    """Opens connections that end in time."""

    def __init__(self, own: httpcore2.NetworkBackend) -> None:
        self._own = own

    def connect_tcp(self, *args: Any, **options: Any) -> httpcore2.NetworkStream:
        return _Stream(self._own.connect_tcp(*args, **options))

    def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore2.NetworkStream:
        return _Stream(self._own.connect_unix_socket(*args, **options))

    def sleep(self, seconds: float) -> None:
        self._own.sleep(seconds)


class _Stream(httpcore2.NetworkStream):
    """One of these connections."""

    def __init__(self, own: httpcore2.NetworkStream) -> None:
        self._own = own

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._own.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._own.write(buffer, _left(timeout))

    def close(self) -> None:
        self._own.close()

    def start_tls(self, *args: Any, **options: Any) -> httpcore2.NetworkStream:
        return _Stream(self._own.start_tls(*args, **options))

    def get_extra_info(self, info: str) -> Any:
        return self._own.get_extra_info(info)
