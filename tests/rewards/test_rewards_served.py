"""Rewards from servers that behave and from servers that do not."""

from __future__ import annotations

import json
import logging
import math
import re
import signal
import threading
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from reward_server import Answer, honest, serving, true_reward
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import ServerOptions, Text, load_reward_model
from rmaudit.rewards.served.client import JsonClient, RetryPolicy
from rmaudit.scoring import Request, open_store, score

QUICK = RetryPolicy(tries=4, first=0.002, longest=0.004, asked=0.05)
TEXTS = [Text(f"prompt {i}", "word " * (i + 1)) for i in range(40)]
EXPECTED = [true_reward(text.prompt, text.output) for text in TEXTS]
KEY = "sk-never-to-be-seen-0123456789"


def load(url, **options):
    return load_reward_model(url, server=ServerOptions(**{"patience": QUICK, **options}))


def rewards(model, texts=TEXTS):
    return model.forward(model.encode(texts)).tolist()


def request(texts=TEXTS):
    ids = [f"row-{i}" for i in range(len(texts))]
    return Request("output", ids, [t.prompt for t in texts], [t.output for t in texts])


def first(count, answer):
    """Misbehave `count` times, then be honest."""

    def behave(server, body):
        return answer if len(server.bodies) <= count else honest(server, body)

    return behave


@pytest.mark.parametrize(
    "trouble",
    [
        Answer("broken", status=500),
        Answer("busy", status=503),
        Answer("slow down", status=429, headers={"Retry-After": "0.01"}),
        Answer({"rewards": [1.0] * 16}, cut=True),
        Answer("{not json"),
        Answer("<html>gateway</html>"),
    ],
    ids=["500", "503", "429", "cut off", "bad JSON", "HTML"],
)
def test_trouble_that_passes_costs_nothing(trouble):
    with serving(first(3, trouble)) as server:
        assert rewards(load(server.url, concurrency=1)) == pytest.approx(EXPECTED)
        assert len(server.bodies) == 3 + 3  # 40 texts are 3 requests of 16


def test_a_slow_answer_is_given_up_and_asked_for_again():
    with serving(first(1, Answer(hang=True))) as server:
        model = load(server.url, concurrency=1, timeout=2.0)
        assert rewards(model) == pytest.approx(EXPECTED)
        assert len(server.bodies) >= 1 + 3  # more where the machine is slower than the limit


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (Answer("broken", status=500), r"HTTP 500 \(broken\), after 4 tries"),
        (Answer(hang=True), r"no answer within 1 s, after 4 tries"),
        (Answer({"rewards": [1.0] * 16}, cut=True), r"connection failed .*, after 4 tries"),
        (Answer("{not json"), r"the answer is not JSON .*after 4 tries"),
        (Answer({"rewards": [1.0] * 3}), r"3 rewards came back for 16 texts"),
        (Answer({"rewards": ["high"] * 16}), r"expected a number, got 'high'"),
        (Answer({"rewards": [True] * 16}), r"expected a number, got True"),
        (Answer({"ratings": []}), r"a list 'rewards' or 'scores', got .'ratings': ..."),
        (Answer("no", status=401), r"HTTP 401 \(no\); the server wants a key.*--api-key-env"),
        (Answer("", status=404), r"HTTP 404 \(Not Found\); check the path"),
        (Answer("", status=302, headers={"Location": "/x"}), r"redirects are not followed"),
        (Answer("", status=429, headers={"Retry-After": "9999"}), r"asks to wait 9999 s, after 1"),
    ],
    ids=lambda value: None if isinstance(value, str) else f"{value.status}",
)
def test_trouble_that_stays_is_one_line_and_loses_nothing(trouble, said, tmp_path):
    def fails_after_the_first(server, body):
        return honest(server, body) if len(server.bodies) == 1 else trouble

    with serving(fails_after_the_first) as server, open_store(tmp_path / "s.sqlite") as store:
        # Only what hangs meets the limit, however slow the machine.
        model = load(server.url, concurrency=1, timeout=1.0 if trouble.hang else 60.0)
        with pytest.raises(RewardModelError, match=said) as raised:
            score(model, [request()], store=store)
        assert "\n" not in str(raised.value)
        assert re.search(r"failed on the text of id 'row-23' .output of eval.", str(raised.value))

        # Repaired, the server is asked for the other 24 texts only.
        server.behaviour = honest
        asked = len(server.bodies)
        scores = score(load(server.url, concurrency=1), [request()], store=store)
        assert scores.reward("output").tolist() == pytest.approx(EXPECTED)
        assert sum(len(body["texts"]) for body in server.bodies[asked:]) == 24
        assert scores.cost.texts_scored == 24


def test_a_server_that_is_not_there_is_one_line():
    with serving() as server:
        url = server.url
    with pytest.raises(RewardModelError, match=r"connection failed \(.*refused.*after 4 tries"):
        rewards(load(url))


def test_what_other_requests_brought_is_kept_when_one_fails(tmp_path):
    """One poisoned text among 40: the other 39 are stored, and the text is named."""

    def refuses_one(server, body):
        if any(text["prompt"] == "prompt 20" for text in body["texts"]):
            return Answer("a word that is not allowed", status=422)
        return honest(server, body)

    with serving(refuses_one) as server, open_store(tmp_path / "s.sqlite") as store:
        model = load(server.url, concurrency=3)
        with pytest.raises(RewardModelError, match=r"id 'row-20'.*HTTP 422 \(a word that"):
            score(model, [request()], store=store)
        server.behaviour = honest
        scores = score(model, [request()], store=store)
        assert scores.reward("output").tolist() == pytest.approx(EXPECTED)
        # What had not been asked for when the refusal came is all that is left, with the text.
        assert 1 <= scores.cost.texts_scored <= 16


def test_nan_and_null_are_handed_on_as_nan_and_infinities_as_they_are():
    with serving(lambda *_: Answer('{"rewards": [NaN, null, Infinity, 1]}')) as server:
        got = rewards(load(server.url), TEXTS[:4])
    assert [math.isnan(value) for value in got] == [True, True, False, False]
    assert got[2:] == [math.inf, 1.0]


def test_a_bare_list_is_an_answer_too_and_messages_are_sent_as_they_are():
    messages = [{"role": "user", "content": "a"}]
    with serving(lambda *_: Answer([2, 3.5])) as server:
        assert rewards(load(server.url), [Text(messages, "b"), Text("\ud800", "c")]) == [2.0, 3.5]
        assert server.bodies == [
            {"texts": [{"prompt": messages, "output": "b"}, {"prompt": "\ufffd", "output": "c"}]}
        ]


def test_no_more_requests_are_under_way_than_allowed():
    with serving() as server:
        assert rewards(load(server.url, concurrency=2), TEXTS * 4) == pytest.approx(EXPECTED * 4)
        assert server.most_under_way <= 2


class Waits:
    """Stands in for the client's event: keeps what would have been waited, waits not at all."""

    def __init__(self):
        self.seconds = []

    def wait(self, seconds):
        self.seconds.append(seconds)
        return False


def waits(answer, patience):
    with serving(lambda *_: answer) as server:
        client = JsonClient(server.url, patience=patience)
        client.stopped = Waits()
        with pytest.raises(RewardModelError):
            client.post({"texts": []})
        assert len(server.bodies) == patience.tries
        return client.stopped.seconds


def test_the_wait_doubles_is_jittered_and_has_an_end():
    drawn = np.array(
        [
            waits(Answer("", status=500), RetryPolicy(tries=5, first=1.0, longest=3.0))
            for _ in range(12)
        ]
    )  # (12, 4)
    assert (drawn >= 0).all()
    assert (drawn <= [1.0, 2.0, 3.0, 3.0]).all()
    assert len(np.unique(drawn)) == drawn.size
    # P(all 12 draws below half) = 2^-12 a column; none of four columns fails once in 1,000 runs.
    assert (drawn.max(axis=0) > np.array([1.0, 2.0, 3.0, 3.0]) / 4).all()


def test_retry_after_is_honoured_as_seconds_and_as_a_date():
    patience = RetryPolicy(tries=3, first=1.0, longest=2.0)
    asked = Answer("", status=429, headers={"Retry-After": "17"})
    assert waits(asked, patience) == [17.0, 17.0]
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    by_date = waits(Answer("", status=503, headers={"Retry-After": until}), patience)
    assert all(30 < seconds <= 60 for seconds in by_date)
    nonsense = waits(Answer("", status=503, headers={"Retry-After": "soon"}), patience)
    assert all(0 <= seconds <= 2 for seconds in nonsense)


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{KEY}@host/score",
        f"https://{KEY}@host/score",
        f"https://host/score?api_key={KEY}",
        f"https://host/score?code={KEY}",
        f"https://host/score?Subscription-Key={KEY}&version=1",
    ],
)
def test_a_credential_in_the_url_is_refused_and_not_repeated(url):
    with pytest.raises(UsageError, match="--api-key-env NAME") as raised:
        load(url)
    assert KEY not in str(raised.value)


def test_other_queries_are_sent_and_not_shown():
    with serving() as server:
        model = load(f"{server.url}/score?version=2&max_tokens=5")
        assert rewards(model) == pytest.approx(EXPECTED)
        assert {headers["path"] for headers in server.headers} == {"/score?version=2&max_tokens=5"}
        assert model.name == f"{server.url}/score"


def test_an_interrupted_pass_goes_on_where_it_stopped(tmp_path):
    """Ctrl-C at the sixth request, while the server is failing and the client about to wait."""
    texts = [Text(f"prompt {i}", "w" * (i + 1)) for i in range(160)]  # batches of 64, 64, 32

    def interrupts(server, body):
        if len(server.bodies) == 6:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            return Answer("", status=503, headers={"Retry-After": "200"})
        return honest(server, body)

    with serving(interrupts) as server, open_store(tmp_path / "s.sqlite") as store:
        model = load(server.url, concurrency=1, patience=RetryPolicy())
        # A shell's background job ignores Ctrl-C, and so would the tests it runs.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                score(model, [request(texts)], store=store)
        finally:
            signal.signal(signal.SIGINT, before)
        server.behaviour = honest
        scores = score(model, [request(texts)], store=store)
        assert scores.cost.texts_scored == 160 - 64
        assert scores.reward("output") == pytest.approx(
            [true_reward(t.prompt, t.output) for t in texts]
        )


def test_a_key_comes_from_the_variable_that_is_named(monkeypatch):
    with serving() as server:
        with pytest.raises(UsageError, match="SOME_KEY: no such environment variable"):
            load(server.url, api_key_env="SOME_KEY")
        monkeypatch.setenv("SOME_KEY", KEY)
        rewards(load(server.url, api_key_env="SOME_KEY"))
        rewards(load(server.url))
        sent = [headers.get("Authorization") for headers in server.headers]
    assert sent == [f"Bearer {KEY}"] * 3 + [None] * 3


def test_the_fingerprint_knows_all_but_the_key(monkeypatch, tmp_path):
    monkeypatch.setenv("SOME_KEY", KEY)
    url = "http://localhost:1/score"
    plain = load(url).fingerprint
    assert load(url, api_key_env="SOME_KEY", timeout=1.0, concurrency=3).fingerprint == plain
    rubric = tmp_path / "rubric.txt"
    rubric.write_text("Grade from 1 to 10.")
    others = [
        load("http://localhost:2/score"),
        load(f"{url}?version=2"),
        load(url, http_model="a"),
        load(url, http_format="vllm"),
        load(url, http_format="tei"),
        load(url, http_format="openai", http_model="a"),
        load(url, http_format="openai", http_model="a", rubric=rubric),
    ]
    assert len({plain, *(other.fingerprint for other in others)}) == 8
    assert "verifiable" in load(url).describe()


def test_no_key_reaches_any_output_of_an_audit(tmp_path, monkeypatch, caplog):
    """A server that repeats the key in its errors and answers; runs that fail, and a good one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOME_KEY", KEY)
    monkeypatch.setenv("RMAUDIT_STORE", "store.sqlite")
    caplog.set_level(logging.DEBUG)
    pairs = [
        {"prompt": f"Q{i // 2}?", "chosen": f"Good {i}." * (1 + i % 4), "rejected": f"Bad {i}."}
        for i in range(40)
    ]
    (tmp_path / "prefs.jsonl").write_text("\n".join(map(json.dumps, pairs)))

    def tells_the_key(server, body):
        key = server.headers[-1].get("Authorization", "")
        if len(server.bodies) == 1:
            return Answer(f"who is {key}?", status=500, headers={"Retry-After": "0"})
        return Answer(f"{key} may not", status=403)

    def run(url, *flags):
        command = ["audit", "--model", url, "--eval", "prefs.jsonl", "--out", "out"]
        command += ["--only", "preference", "--api-key-env", "SOME_KEY", *flags]
        return CliRunner().invoke(app, command)

    with serving(tells_the_key) as server:
        failed = run(server.url, "--json-logs")
        traced = run(server.url, "--debug")
        server.behaviour = honest
        good = run(server.url)
    assert failed.exit_code == 2
    assert "Bearer *** may not" in failed.stderr
    assert good.exit_code == 0, good.stderr
    facts = json.loads((tmp_path / "out" / "report.json").read_text())["model"]["facts"]
    assert facts["verifiable"].startswith("no")
    printed = [each for done in (failed, traced, good) for each in (done.stdout, done.stderr)]
    printed += ["".join(traceback.format_exception(traced.exception)), caplog.text]
    assert "HTTP Request: POST" in caplog.text  # the library's own log was listened to
    assert not any(KEY in each for each in printed)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
