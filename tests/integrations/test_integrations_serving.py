"""`rmaudit serve`, asked as OpenRLHF and verl ask."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmaudit.errors import UsageError
from rmaudit.integrations.serving import RequestError, RewardService, server, texts_of
from rmaudit.integrations.verl import compute_score, compute_scores
from rmaudit.rewards.ensemble import Ensemble
from rmaudit.rewards.functions.function import given_function


def paid_by_length() -> Any:
    return Ensemble([given_function(lambda pairs, k=k: [k * len(o) for _, o in pairs])
                     for k in (1.0, 3.0)])  # fmt: skip


def meant() -> Any:
    return given_function(lambda pairs: [-float(o.count("!")) for _, o in pairs])


@contextmanager
def running(service: RewardService) -> Iterator[str]:
    with server(service, "127.0.0.1", 0) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}/get_reward"
        made.shutdown()
        thread.join()


def post(url: str, content: Any) -> dict[str, Any]:
    """As OpenRLHF's remote_rm_utils: a JSON body, a JSON answer with "rewards"."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        answer: dict[str, Any] = json.load(reply)
    return answer


def test_the_protocol_of_openrlhf(tmp_path: Path) -> None:
    service = RewardService(paid_by_length(), meant(), per_step=4, folder=tmp_path)
    with running(service) as url:
        queries = ["<pad><pad>say ab!</s>", "say abcd<|im_end|>\n", "say a!!"]
        request = {"query": queries, "prompts": ["say "] * 3, "labels": ["", "", ""]}
        answer = post(url, request)
        assert answer["rewards"] == [6.0, 8.0, 6.0]  # mean of 1 and 3 times the letters
        assert answer["scores"] == answer["rewards"]
        assert answer["extra_logs"] == {"gold": [-1.0, 0.0, -2.0], "disagreement": [3.0, 4.0, 3.0]}
        assert not (tmp_path / "training-log.jsonl").exists()  # three of the step's four
        post(url, request)
        for bad in (b"no JSON", {"prompts": []}, {"query": ["a"], "prompts": ["a", "b"]}):
            with pytest.raises(urllib.error.HTTPError) as told:
                post(url, bad)
            assert told.value.code == 400
            told.value.close()
        with urllib.request.urlopen(url.replace("get_reward", "")) as reply:
            status = json.load(reply)
    assert (status["step"], status["alarms"]) == (2, [])
    (record,) = [json.loads(r) for r in (tmp_path / "training-log.jsonl").read_text().splitlines()]
    assert record["step"] == 1
    assert record["rmaudit/proxy"] == pytest.approx((6 + 8 + 6 + 6) / 4)
    assert record["rmaudit/gold"] == pytest.approx((-1 + 0 - 2 - 1) / 4)


def test_a_run_that_learns_to_shout_rings(tmp_path: Path) -> None:
    said: list[str] = []
    service = RewardService(paid_by_length(), meant(), per_step=16, say=said.append)
    rng = np.random.default_rng(0)
    for step in range(70):
        shouts = rng.poisson(0.5 + max(0, step - 30) / 5, 16)
        queries = [f"say {'!' * n}word" for n in shouts]
        service.answer({"query": queries, "prompts": ["say "] * 16})
    assert "gold" in [a.name for a in service.monitor.alarms]
    assert any("gold reward has fallen below its best" in line for line in said)


def test_gold_on_every_tenth_step_and_a_reward_that_is_no_number() -> None:
    service = RewardService(paid_by_length(), meant(), per_step=1, gold_every=10)
    given = ["gold" in service.answer({"query": ["a"]})["extra_logs"] for _ in range(21)]
    assert np.flatnonzero(given).tolist() == [0, 10, 20]
    broken = RewardService(given_function(lambda pairs: [float("nan")] * len(pairs)))
    with running(broken) as url, pytest.raises(urllib.error.HTTPError) as told:
        post(url, {"query": ["a"], "prompts": [""]})
    assert told.value.code == 500
    assert "1 of 1 rewards are not finite" in told.value.read().decode()
    told.value.close()


def test_a_prompt_that_its_tokenizer_changed_is_found_by_its_end() -> None:
    (text,) = texts_of({"query": ["system  What is 2 + 2?\nanswer: 4"],
                        "prompts": ["system What is 2 + 2?\nanswer: "]})  # fmt: skip
    assert text.output in ("4", " 4") or text.output.endswith("4")


def test_the_reward_function_of_verl(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(RewardService(paid_by_length(), meant())) as url:
        monkeypatch.setenv("RMAUDIT_REWARD_URL", url)
        one = compute_score("math", "abc!", "4", {"question": "What?"})
        assert one == {"score": 8.0, "gold": -1.0, "disagreement": 4.0}
        prompt = [{"role": "user", "content": "What?"}]
        many = compute_scores(["m"] * 2, ["a", "bb"], ["", ""], [{"prompt": prompt}, None])
        assert [row["score"] for row in many] == [2.0, 4.0]


def test_serve_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "tidy.py").write_text("def reward(pairs):\n    return [len(o) for _, o in pairs]\n")
    command = [sys.executable, "-m", "rmaudit", "serve", "-m", "python:tidy:reward",
               "--port", "0", "--per-step", "2", "--out", "log"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stderr is not None
            url = None
            for line in child.stderr:
                if found := re.search(r"http://\S+/get_reward", line):
                    url = found[0]
                    break
            assert url is not None
            request = {"query": ["p abc", "p d"], "prompts": ["p ", "p "]}
            assert post(url, request)["rewards"] == [3, 1]
        finally:
            child.terminate()
    logged = json.loads((tmp_path / "log" / "training-log.jsonl").read_text())
    assert logged["rmaudit/proxy"] == 2.0


def test_a_verifier_gets_the_references_that_trainers_send_as_labels() -> None:
    def correct(completions: list[str], solution: list[str]) -> list[float]:
        return [float(s in c) for c, s in zip(completions, solution, strict=True)]

    service = RewardService(given_function(correct), per_step=4)
    asked = {"query": ["1+1?2", "2+2?5"], "prompts": ["1+1?", "2+2?"]}
    assert service.answer({**asked, "labels": ["2", "4"]})["rewards"] == [1.0, 0.0]
    assert service.answer({**asked, "solution": ["2", "5"]})["rewards"] == [1.0, 1.0]
    with pytest.raises(RequestError, match='no list "solution" in the request'):
        service.answer(asked)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"Content-Length: abc", b" 411 "),
        (b"Content-Length: -1", b" 411 "),
        (b"Content-Length: \xb2", b" 411 "),
        (b"X: y", b" 411 "),
        (b"Content-Length: " + b"9" * 5000, b" 413 "),
        (b"Content-Length: 9999", b""),  # and then silence
    ],
)
def test_a_request_that_does_harm_costs_nothing(
    head: bytes, told: bytes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if not told:  # else nothing waits, however slow the machine
        monkeypatch.setattr("rmaudit.integrations.http_server.PATIENCE", 2.0)
    said: list[str] = []
    with running(RewardService(paid_by_length(), say=said.append)) as url:
        place = urllib.parse.urlsplit(url)
        with socket.create_connection((place.hostname, place.port), timeout=30) as client:
            client.sendall(b"POST /get_reward HTTP/1.0\r\n" + head + b"\r\n\r\n{")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert told in answer[:20]
        assert post(url, {"query": ["say a"], "prompts": ["say "]})["rewards"] == [2.0]
    assert said == []
    assert "Traceback" not in capfd.readouterr().err


def sent(url: str, request: bytes, *, ended: bool = False) -> bytes:
    """The answer to a request as it stands; `ended`: nothing more will be sent."""
    place = urllib.parse.urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as client:
        client.sendall(request)
        if ended:
            client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(4096), b""))


def with_length(body: bytes) -> bytes:
    return b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body


GOOD = b'{"query": ["say a"]}'


@pytest.mark.parametrize(
    "request_",
    [
        with_length(b"[" * 100_000),
        with_length(b'{"a":' * 100_000),
        with_length(b'{"query": ["a"], "n": ' + b"9" * 5000 + b"}"),
        with_length(b'{"query": ["\xff\xfe"]}'),
        with_length(b""),
        with_length(b"null"),
        with_length(b'{"query": {"a": 1}}'),
        with_length(b'{"query": ["a"], "prompts": "ab", "query": NaN}'),
        with_length(b"\x1f\x8b\x08 packed"),
        b"POST / HTTP/1.0\r\nContent-Length: 400\r\n\r\n" + GOOD,
        b"POST / HTTP/1.0\r\nContent-Length: 20\r\nContent-Length: 400\r\n\r\n" + GOOD,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 20\r\n\r\n" + GOOD,
    ],
)
def test_a_request_that_is_not_whole_or_no_request_is_the_clients_fault(request_: bytes) -> None:
    said: list[str] = []
    with running(RewardService(paid_by_length(), say=said.append)) as url:
        answer = sent(url, request_, ended=True)
        assert b" 400 " in answer[:20]
        assert len(answer) < 2000
        assert b" 501 " in sent(url, b"PUT / HTTP/1.0\r\n\r\n")[:20]
        assert b" 200 " in sent(url, with_length(GOOD))[:20]
    assert said == []


def test_a_request_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rmaudit.integrations.http_server.WHOLE", 1.0)
    said: list[str] = []
    with running(RewardService(paid_by_length(), say=said.append)) as url:
        place = urllib.parse.urlsplit(url)
        with socket.create_connection((place.hostname, place.port), timeout=30) as client:
            client.sendall(b"POST / HTTP/1.0\r\nContent-Length: 100000\r\n\r\n")
            start = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() - start < 30:  # never silent for long
                    client.sendall(b" ")
                    time.sleep(0.05)
        assert time.monotonic() - start < 30
        assert post(url, {"query": ["say a"], "prompts": ["say "]})["rewards"] == [2.0]


def test_connections_have_a_limit_and_leave_room_when_they_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rmaudit.integrations.http_server.MOST_CONNECTIONS", 3)
    with running(RewardService(paid_by_length())) as url:
        place = urllib.parse.urlsplit(url)
        idle = [socket.create_connection((place.hostname, place.port)) for _ in range(3)]
        try:
            with contextlib.suppress(OSError):  # closed unread: reset on some systems
                assert sent(url, with_length(GOOD)) == b""
        finally:
            for each in idle:
                each.close()
        for _ in range(200):
            with contextlib.suppress(OSError):
                if b" 200 " in sent(url, with_length(GOOD))[:20]:
                    return
            time.sleep(0.05)
    raise AssertionError("no room after the others left")


def test_a_judge_of_two_responses_is_refused_before_the_server_starts() -> None:
    def first(prompts: list[str], responses_a: list[str], responses_b: list[str]) -> list[float]:
        return [1.0 for _ in prompts]

    with pytest.raises(UsageError, match="compares two responses and gives none a reward"):
        RewardService(given_function(first))
    with pytest.raises(UsageError, match="which a gold score needs"):
        RewardService(paid_by_length(), given_function(first))
