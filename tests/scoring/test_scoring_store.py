"""The store keeps rewards to the bit and survives what happens to files."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rmaudit.errors import StoreError
from rmaudit.scoring import store as store_module
from rmaudit.scoring.lock import FileLock
from rmaudit.scoring.rows import ROW
from rmaudit.scoring.store import ScoreStore, default_path, open_store
from rmaudit.scoring.store_types import NullStore


def some_keys(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**64, (n, 2), dtype=np.uint64)


def some_rows(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.zeros(n, dtype=ROW)
    rows["reward"] = rng.normal(size=n)
    rows["tokens"] = rng.integers(0, 2**32, n)
    rows["output_tokens"] = rng.integers(0, 5000, n)
    for name in ("truncated", "output_truncated", "double_bos"):
        rows[name] = rng.random(n) < 0.5
    return rows


def test_rows_come_back_to_the_bit_in_the_order_asked(tmp_path):
    keys, rows = some_keys(1000), some_rows(1000)
    signalling = np.array([0x7FF0000000000001], dtype=np.uint64).view(np.float64)[0]
    rows["reward"][:6] = [np.nan, np.inf, -np.inf, -0.0, 5e-324, signalling]
    with ScoreStore(tmp_path / "s.sqlite") as store:
        store.add("model", keys, rows)
    order = np.random.default_rng(1).permutation(1000)
    with ScoreStore(tmp_path / "s.sqlite") as store:
        back, found = store.look_up("model", keys[order])
    assert found.all()
    assert back.tobytes() == rows[order].tobytes()


def test_only_the_same_model_and_text_are_found(tmp_path):
    keys, rows = some_keys(10), some_rows(10)
    with ScoreStore(tmp_path / "s.sqlite") as store:
        store.add("one", keys[:5], rows[:5])
        store.add("two", keys[5:], rows[5:])
        assert store.look_up("one", keys)[1].tolist() == [True] * 5 + [False] * 5
        assert store.look_up("two", keys)[1].tolist() == [False] * 5 + [True] * 5
        assert not store.look_up("three", keys)[1].any()
        assert len(store.look_up("one", keys[:0])[0]) == 0


def test_look_ups_longer_than_one_statement_stay_aligned(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_LOOK_UP", 7)
    keys, rows = some_keys(50), some_rows(50)
    kept = np.arange(50) % 3 != 0
    with ScoreStore(tmp_path / "s.sqlite") as store:
        store.add("m", keys[kept], rows[kept])
        back, found = store.look_up("m", keys)
    assert (found == kept).all()
    assert (back[kept] == rows[kept]).all()


def test_a_text_scored_again_replaces_its_row(tmp_path):
    keys, rows = some_keys(3), some_rows(3)
    with ScoreStore(tmp_path / "s.sqlite") as store:
        store.add("m", keys, some_rows(3, seed=9))
        store.add("m", keys, rows)
        assert (store.look_up("m", keys)[0] == rows).all()


def test_a_row_that_fails_its_checksum_is_not_a_reward(tmp_path):
    path, keys, rows = tmp_path / "s.sqlite", some_keys(4), some_rows(4)
    with ScoreStore(path) as store:
        store.add("m", keys, rows)
    with sqlite3.connect(path) as raw:
        ((key, value),) = raw.execute("SELECT key, value FROM scores LIMIT 1")
        flipped = bytes([value[0] ^ 1]) + value[1:]
        raw.execute("UPDATE scores SET value = ? WHERE key = ?", (flipped, key))
        ((key2,),) = raw.execute("SELECT key FROM scores LIMIT 1 OFFSET 1")
        raw.execute("UPDATE scores SET value = 'text' WHERE key = ?", (key2,))
    raw.close()
    with ScoreStore(path) as store:
        back, found = store.look_up("m", keys)
    assert found.sum() == 2
    assert (back[found] == rows[found]).all()


@pytest.mark.parametrize("damage", ["garbage", "short", "header", "page", "cut"])
def test_a_damaged_file_is_set_aside_with_a_warning(tmp_path, damage):
    path, keys, rows = tmp_path / "s.sqlite", some_keys(2000), some_rows(2000)
    with ScoreStore(path) as store:
        store.add("m", keys, rows)
    data = bytearray(path.read_bytes())
    if damage == "garbage":
        data = bytearray(np.random.default_rng(0).bytes(5000))
    elif damage == "short":
        data = bytearray(b"oops")
    elif damage == "header":
        data[:100] = bytes(100)
    elif damage == "page":
        data[3 * 4096 : 4 * 4096] = np.random.default_rng(0).bytes(4096)
    else:
        del data[len(data) // 2 :]
    path.write_bytes(data)
    said: list[str] = []
    with ScoreStore(path, warn=said.append) as store:
        assert not store.look_up("m", keys)[1].any()
        store.add("m", keys, rows)
        assert store.look_up("m", keys)[1].all()
    (line,) = said
    assert str(path) in line
    assert "\n" not in line
    (aside,) = tmp_path.glob("s.sqlite.damaged-*")
    assert aside.read_bytes() == bytes(data)
    with ScoreStore(path, warn=said.append) as store:
        assert store.look_up("m", keys)[1].all()
    assert len(said) == 1


def test_damage_that_shows_after_opening_is_set_aside_too(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_QUICK_CHECK_BYTES", -1)  # as if the file were large
    path, keys, rows = tmp_path / "s.sqlite", some_keys(5000), some_rows(5000)
    with ScoreStore(path) as store:
        store.add("m", keys, rows)
    said: list[str] = []
    store = ScoreStore(path, warn=said.append)
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    path.write_bytes(data)
    found = store.look_up("m", keys)[1]
    store.add("m", keys[~found], rows[~found])
    back, found = store.look_up("m", keys)
    store.close()
    assert len(said) == 1
    assert found.all()
    assert (back == rows).all()


def test_a_damaged_file_that_another_process_uses_is_not_moved(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_SET_ASIDE_PATIENCE", 0.05)
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    other = FileLock(tmp_path / "s.sqlite.lock")
    other.share()
    with pytest.raises(StoreError, match="another process has it open"):
        ScoreStore(path)
    other.release()
    assert path.exists()
    with ScoreStore(path, warn=lambda line: None) as store:
        store.add("m", some_keys(1), some_rows(1))


def test_another_programs_database_is_left_alone(tmp_path):
    path = tmp_path / "theirs.sqlite"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE precious (x)")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a score store"):
        ScoreStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("place", ["file", "proc", "folder"])
def test_an_unwritable_place_is_one_clear_line(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    path = {
        "file": tmp_path / "file" / "s.sqlite",
        "proc": Path("/proc/nowhere/s.sqlite"),
        "folder": tmp_path / "folder",
    }[place]
    with pytest.raises(StoreError) as caught:
        ScoreStore(path)
    line = str(caught.value)
    assert str(path) in line
    assert "--store" in line
    assert "\n" not in line


def fill_until_full(store: ScoreStore) -> tuple[str, list[int]]:
    """Add batches until the store refuses; what it said, and which batches it took."""
    taken: list[int] = []
    for batch in range(10_000):
        try:
            store.add("m", some_keys(200, seed=batch), some_rows(200, seed=batch))
        except StoreError as error:
            return str(error), taken
        taken.append(batch)
    raise AssertionError("the disk never filled")


def assert_kept(store: ScoreStore, taken: list[int]) -> None:
    assert taken
    for batch in taken:
        rows, found = store.look_up("m", some_keys(200, seed=batch))
        assert found.all()
        assert (rows == some_rows(200, seed=batch)).all()


def test_a_full_database_is_one_clear_line_and_keeps_what_it_had(tmp_path):
    store = ScoreStore(tmp_path / "s.sqlite")
    assert store._connection is not None
    store._connection.execute("PRAGMA max_page_count = 40")
    line, taken = fill_until_full(store)
    assert "full" in line
    assert "\n" not in line
    assert_kept(store, taken)
    store.close()


def test_a_full_disk_is_one_clear_line_and_keeps_what_it_had(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system cannot be mounted here")
    try:
        with ScoreStore(tmp_path / "s.sqlite") as store:
            line, taken = fill_until_full(store)
            assert "full" in line or "disk" in line
            assert "\n" not in line
            assert_kept(store, taken)
        with ScoreStore(tmp_path / "s.sqlite") as store:
            assert_kept(store, taken)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_killed_transaction_leaves_nothing_behind(tmp_path, monkeypatch):
    keys, rows = some_keys(2), some_rows(2)
    with ScoreStore(tmp_path / "s.sqlite") as store:
        store.add("m", keys[:1], rows[:1])

        def interrupted(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(store_module, "pack", interrupted)
            with pytest.raises(KeyboardInterrupt):
                store.add("m", keys[1:], rows[1:])
        assert store.look_up("m", keys)[1].tolist() == [True, False]
        store.add("m", keys[1:], rows[1:])
        assert store.look_up("m", keys)[1].all()


def test_without_cache_no_file_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("RMAUDIT_STORE", str(tmp_path / "env" / "s.sqlite"))
    with open_store(None, cache=False) as store:
        assert isinstance(store, NullStore)
        store.add("m", some_keys(3), some_rows(3))
        assert not store.look_up("m", some_keys(3))[1].any()
    assert list(tmp_path.iterdir()) == []


def test_the_default_place_is_the_environments_or_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RMAUDIT_STORE", str(tmp_path / "env" / "s.sqlite"))
    assert default_path() == tmp_path / "env" / "s.sqlite"
    with open_store() as store:
        store.add("m", some_keys(3), some_rows(3))
    with open_store(tmp_path / "env" / "s.sqlite") as store:
        assert store.look_up("m", some_keys(3))[1].all()
    monkeypatch.delenv("RMAUDIT_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_path().name == "scores.sqlite"
    assert "rmaudit" in default_path().parts


@pytest.mark.parametrize("content", [b"precious notes", b"\x00" * 5000, b"SQLite format 3\x00" * 9])
def test_a_file_that_is_no_store_is_never_moved_or_replaced(tmp_path, content):
    path = tmp_path / "mine"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="no score store"):
        ScoreStore(path)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir() if "damaged" in each.name] == []


def test_a_folder_is_no_store_and_a_store_does_not_merge_itself(tmp_path):
    with pytest.raises(StoreError, match="is no file"):
        ScoreStore(tmp_path)
    with ScoreStore(tmp_path / "s.sqlite") as store:
        store.add("m", some_keys(3), some_rows(3))
        (tmp_path / "same.sqlite").hardlink_to(tmp_path / "s.sqlite")
        for part in ("s.sqlite", "same.sqlite"):
            with pytest.raises(StoreError, match="is the store to merge into"):
                store.merge(tmp_path / part)


def test_cards_are_kept_and_merged(tmp_path):
    with ScoreStore(tmp_path / "part.sqlite") as part:
        part.keep_card("model:x", {"name": "x"})
    with ScoreStore(tmp_path / "whole.sqlite") as whole:
        assert whole.card("model:x") is None
        whole.merge(tmp_path / "part.sqlite")
        assert whole.card("model:x") == {"name": "x"}
