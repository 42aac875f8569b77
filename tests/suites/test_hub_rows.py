"""Benchmarks from the hub: a split in the cache of `datasets`, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from published_rows import pair, write

import rmaudit as rma
from rmaudit.data.hub import Hub, hub_name
from rmaudit.errors import DataError

datasets = pytest.importorskip("datasets")

REVISION = "0123456789abcdef0123456789abcdef01234567"
ROWS = [pair(name, k % 3, 1, k) for name in ("hep-go", "donotanswer") for k in range(6)]


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Org/bench as `datasets` leaves it in its cache after a download."""
    home = tmp_path / "datasets"
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "filtered.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    (tmp_path / "bench" / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - split: filtered\n    path: filtered.jsonl\n---\n"
    )
    datasets.disable_progress_bars()
    datasets.load_dataset(str(tmp_path / "bench"), cache_dir=str(home))
    (home / "bench").rename(home / "org___bench")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(home))
    return "org/bench:filtered"


def test_a_split_of_the_hub_gives_what_its_file_gives(cached: str, tmp_path: Path) -> None:
    hub = rma.bench("rewardbench", cached)
    local = rma.bench("rewardbench", write(tmp_path / "rows.jsonl", ROWS))
    assert dict(hub.official) == dict(local.official)
    assert hub.official["score"] == pytest.approx(1 / 3)
    assert hub.record.inputs["eval"].path == cached
    part = rma.bench("rewardbench", cached, limit=4)
    assert part.suite is not None
    assert part.suite["items"] == 4


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("org/bench:nowhere", "cannot be loaded from the hub"),
        ("org/other:filtered", "cannot be loaded from the hub"),
        # Without a network `datasets` takes what it has, whatever revision was asked for.
        (f"org/bench@{REVISION}:filtered", "not known to be of that revision"),
    ],
)
@pytest.mark.usefixtures("cached")
def test_what_the_cache_lacks_is_refused_with_what_to_download(name: str, why: str) -> None:
    with pytest.raises(DataError) as caught:
        rma.bench("rewardbench", name)
    assert str(caught.value).startswith(f"{name}: ")
    assert why in str(caught.value)
    assert "Or download allenai/reward-bench, split filtered" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "addresses", "pinned"),
    [
        ("org/a:test", [f"hf://datasets/org/a@{REVISION}/x.parquet"], f"org/a@{REVISION}:test"),
        ("org/a:c/test", [f"hf://datasets/org/a@{REVISION}/x"], f"org/a@{REVISION}:c/test"),
        ("org/a@v1:test", [f"hf://datasets/org/a@{REVISION}/x"], "org/a@v1:test"),
        ("org/a:test", ["/a/local/file"], "org/a:test"),
        ("org/a:test", [], "org/a:test"),
    ],
)
def test_the_record_names_the_revision_that_was_read(
    text: str, addresses: list[str], pinned: str
) -> None:
    reader = Hub.__new__(Hub)
    reader.path, name = text, hub_name(text)
    assert name is not None
    reader.name = name
    info = SimpleNamespace(download_checksums=dict.fromkeys(addresses))
    reader._data = SimpleNamespace(info=info)
    assert reader.pinned == pinned


def test_rows_of_the_revision_that_is_asked_for_are_read(cached: str, tmp_path: Path) -> None:
    """The hub's rows lie in a folder named after their commit."""
    inside = (tmp_path / "datasets" / "org___bench").glob("*/*/*")
    folder = next(path for path in inside if path.is_dir())
    folder.rename(folder.with_name(REVISION))
    report = rma.bench("rewardbench", f"org/bench@{REVISION}:filtered")
    assert report.official["score"] == pytest.approx(1 / 3)
    unnamed = rma.bench("rewardbench", cached)
    assert unnamed.record.inputs["eval"].path == f"org/bench@{REVISION}:filtered"
