"""JSON over HTTP with patience: retries, back-off, time limits; no credential in any message."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import threading
import time
import weakref
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from rmaudit.errors import RewardModelError, UsageError

# Overloaded or restarting servers; 529 is what some hosted models say when overloaded.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_ANSWERED_TOO_LONG = frozenset({400, 413, 414, 422})
_CREDENTIAL = re.compile(
    r"(key|token|secret|password|passwd|pwd|signature|credentials?)$|^(sig|code|pat)$|^auth",
    re.IGNORECASE,
)
MOST_BYTES = 32 << 20  # of an answer, opened
_SHOWN = 160  # characters of a server's own words


class RefusedError(RewardModelError):
    """The server found fault with the request itself: fewer or shorter texts may do."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


class _PassingError(Exception):
    """A failure that may be over in a moment; `wait` is what the server asked for, in seconds."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to go on with a server that fails.

    The wait before try k (from 1) is drawn evenly from [0, first * 2^(k-1)], at most `longest`
    ("full jitter", which keeps many clients from returning at the same moment), and never shorter
    than what the server asks for with ``Retry-After``.
    """

    tries: int = 6
    first: float = 1.0  # seconds
    longest: float = 30.0  # seconds
    asked: float = 300.0  # seconds; a server that asks for more has closed for the day


def checked_url(url: str) -> str:
    """A URL that can be shown and stored.

    Raises
    ------
    UsageError
        If it has no host, or carries a credential: a URL ends up in reports, logs and the shell's
        history. The message shows neither user, password nor query.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise UsageError("a reward model's URL needs a host, e.g. http://localhost:8000/score")
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    named = next((name for name in names if _CREDENTIAL.search(name)), None)
    if parts.username is not None or parts.password is not None or named is not None:
        raise UsageError(
            f"{shown_url(url)}: the URL carries a credential; put it into an environment variable "
            "and name that: --api-key-env NAME"
        )
    return urlunsplit(parts._replace(fragment=""))


def is_url(spec: object) -> bool:
    """Whether a reward model is named by a server's URL."""
    return isinstance(spec, str) and spec.lower().startswith(("http://", "https://"))


def shown_url(url: str) -> str:
    """Scheme, host, port and path of a URL: what names a server without naming a user."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def key_from(variable: str | None) -> str | None:
    """The key in an environment variable; None if none was named.

    Raises
    ------
    UsageError
        If the variable is not set, or holds what no HTTP header can.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"--api-key-env {variable}: no such environment variable is set")
    if not (key.isascii() and key.isprintable()):
        raise UsageError(
            f"--api-key-env {variable}: holds characters that no HTTP header can carry"
        )
    return key


class JsonClient:
    """Posts JSON objects to one URL; may be used from several threads at once.

    Parameters
    ----------
    url
        As `checked_url` returns it.
    key
        Sent as ``Authorization: Bearer``; replaced by ``***`` wherever a server repeats it.
    timeout
        Seconds that a whole answer may take, its headers included, after which a try has failed.
    connections
        How many requests may be under way at once.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout: float = 60.0,
        connections: int = 8,
        patience: RetryPolicy | None = None,
    ) -> None:
        import httpx2

        from rmaudit.rewards.deadline import bound

        self.url = url
        self.shown = shown_url(url)
        self.stopped = threading.Event()  # set: no request waits any longer, or is tried again
        self._key = key
        self._timeout = timeout
        self._patience = patience or RetryPolicy()
        self._random = secrets.SystemRandom()
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        self._client = httpx2.Client(
            headers=headers | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 10.0), pool=None),
            limits=httpx2.Limits(max_connections=connections),
        )
        bound(self._client)
        weakref.finalize(self, self._client.close)  # connections end with the model

    def post(self, body: dict[str, Any]) -> Any:
        """The JSON that comes back for a JSON object.

        Raises
        ------
        RefusedError
            If the server finds fault with what was sent (400, 413, 414, 422).
        RewardModelError
            If it does not let us in, has no such path, or still fails after the last try.
        """
        what = ""
        for number in range(1, self._patience.tries + 1):
            try:
                return self._once(body)
            except _PassingError as failure:
                what = str(failure)
                if number == self._patience.tries or self._wait(number, failure.wait):
                    break
        raise RewardModelError(
            f"{self.shown}: {what}, after {number} tries; see whether the server is up, and run "
            "the same command again: it goes on where this one stopped"
        )

    def scrub(self, text: str) -> str:
        """A text without the key, on one line, of readable length."""
        clean = text.replace(self._key, "***") if self._key else text
        clean = " ".join("".join(c if c.isprintable() else " " for c in clean).split())
        return clean if len(clean) <= _SHOWN else f"{clean[:_SHOWN]} ..."

    def _wait(self, number: int, asked: float | None) -> bool:
        """Wait before the next try; True if there will be none."""
        if asked is not None and asked > self._patience.asked:
            return True
        backoff = min(self._patience.longest, self._patience.first * 2 ** (number - 1))
        return self.stopped.wait(max(asked or 0.0, self._random.uniform(0, backoff)))

    def _once(self, body: dict[str, Any]) -> Any:
        import httpx2

        from rmaudit.rewards.deadline import within

        try:
            with within(self._timeout):
                answer, content = self._read(body)
        except httpx2.TimeoutException:
            raise _PassingError(f"no answer within {self._timeout:g} s") from None
        except httpx2.TransportError as error:
            raise _PassingError(f"connection failed ({self.scrub(str(error))})") from None
        except httpx2.HTTPError as error:
            raise RewardModelError(f"{self.shown}: {self.scrub(str(error))}") from None
        text = content.decode("utf-8", "replace")
        if answer.is_success:
            try:
                return json.loads(content)
            except (ValueError, RecursionError):
                said = self.scrub(text[: 4 * _SHOWN])
                raise _PassingError(f"the answer is not JSON ({said!r})") from None
        raise self._failure(answer, text)

    def _read(self, body: dict[str, Any]) -> tuple[Any, bytes]:
        """The head of an answer and its content, within the time and size that one may take."""
        end = time.monotonic() + self._timeout
        with self._client.stream("POST", self.url, json=body) as answer:
            how = answer.headers.get("Content-Encoding", "identity").strip().lower()
            if how not in ("", "identity", "gzip", "x-gzip", "deflate"):
                raise RewardModelError(f"{self.shown}: the answer is compressed by {how!r:.40}")
            opened = zlib.decompressobj(47) if how not in ("", "identity") else None  # gzip, zlib
            content = bytearray()
            for piece in answer.iter_raw():
                if opened is not None:
                    room = MOST_BYTES + 1 - len(content)
                    try:
                        piece = opened.decompress(piece, room)
                    except zlib.error:
                        raise _PassingError("the answer is not what it says to be: gzip") from None
                content += piece
                if len(content) > MOST_BYTES:
                    raise RewardModelError(
                        f"{self.shown}: the answer is longer than {MOST_BYTES >> 20} MB, which no "
                        "list of rewards is; check the URL"
                    )
                if time.monotonic() > end:
                    raise _PassingError(f"no whole answer within {self._timeout:g} s")
            return answer, bytes(content)

    def _failure(self, answer: Any, text: str) -> Exception:
        status, said = answer.status_code, self.scrub(text[: 4 * _SHOWN])
        what = f"HTTP {status} ({said or answer.reason_phrase})"
        if status in _TRANSIENT:
            wait = _seconds(answer.headers.get("Retry-After"))
            asks = "" if wait is None else f", and asks to wait {wait:.0f} s"
            return _PassingError(what + asks, wait)
        if status in _ANSWERED_TOO_LONG:
            return RefusedError(f"{self.shown}: {what}", text)
        hint = "check the path and --http-format"
        if status in (401, 403):
            hint = (
                "the server does not accept the key"
                if self._key
                else "the server wants a key; name the variable that holds it: --api-key-env NAME"
            )
        elif answer.is_redirect:
            hint = "redirects are not followed, so that no key goes astray; give the final URL"
        return RewardModelError(f"{self.shown}: {what}; {hint}")


def _seconds(retry_after: str | None) -> float | None:
    """Seconds that ``Retry-After`` asks for: a number, or a date (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", retry_after):
        return float(retry_after)
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (until.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def fingerprint(*facts: object) -> str:
    """A hash of what is known to decide about a server's rewards; never of a key."""
    return hashlib.sha256(repr(("served", *facts)).encode("utf-8", "surrogatepass")).hexdigest()
