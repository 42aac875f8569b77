"""Data sets on the Hugging Face hub, through `datasets`."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from rmaudit.data.chunks import CHUNK_ROWS, Columns, Reader
from rmaudit.data.classlabels import feature_names, with_names
from rmaudit.errors import DataError

_NAME = re.compile(
    r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?"
    r"(?::(?:(?P<config>[^/\\:?\[]+)/)?(?P<split>[^/\\?]+?))?(?:\?data_dir=(?P<data_dir>[^?]+))?"
)
_HASH = re.compile(r"[0-9a-f]{40}")
_COMMIT = re.compile(r"[@/]([0-9a-f]{40})/")  # in the address or the folder of a cached file


@dataclass(frozen=True)
class HubName:
    """``org/name@revision:config/split?data_dir=FOLDER``; all but the first may be left out."""

    text: str
    repository: str
    revision: str | None
    config: str | None
    split: str | None
    data_dir: str | None


def hub_name(text: str) -> HubName | None:
    """The parts of a hub id; None if it is none."""
    match = _NAME.fullmatch(text)
    return HubName(text, **match.groupdict()) if match else None


class Hub(Reader):
    """A split of a hub data set; with a limit, streamed where that can be done."""

    def __init__(self, name: HubName, limit: int | None = None) -> None:
        self.name, self.path = name, name.text
        if not name.split:
            raise DataError(
                f"{name.text}: no such file; for a hub data set say the split: {name.text}:train"
            )
        try:
            import datasets
        except ImportError as error:
            raise DataError(
                f"{name.text}: no such file; a hub data set needs "
                "`pip install datasets huggingface_hub`"
            ) from error
        self._hash = hashlib.sha256()
        options = {"name": name.config, "revision": name.revision, "data_dir": name.data_dir}
        given = {key: value for key, value in options.items() if value is not None}
        try:
            with _bars_on_terminals_only(datasets):
                self._data = _loaded(datasets, name, given, limit)
        except Exception as error:  # whatever the hub, the network or the data set's files raise
            what = str(error).strip().splitlines()[:1]
            raise DataError(
                f"{name.text}: cannot be loaded from the hub "
                f"({''.join(what) or type(error).__name__}); check the name, the config, the split "
                "and the network"
            ) from error
        revision = name.revision or ""
        if (
            _HASH.fullmatch(revision)
            and revision not in _commits(self._data)
            and _cached(self._data)
        ):
            raise DataError(  # `datasets` takes the latest that it has where there is no network
                f"{name.text}: the cache holds this data set, but not known to be of that "
                "revision, and the hub cannot be asked; leave the revision out or get a network"
            )
        self._names = feature_names(getattr(self._data, "features", None))

    def chunks(self) -> Iterator[Columns]:
        """Rows by their place in the split, from 1."""
        first = 1
        self._hash = hashlib.sha256()
        for table in self._data.with_format("arrow").iter(batch_size=CHUNK_ROWS):
            self._update(table)
            yield Columns(first, with_names(table, self._names))
            first += table.num_rows

    def _update(self, table: Any) -> None:
        for row in table.to_pylist():
            self._hash.update(repr(row).encode("utf-8", "surrogatepass"))

    @property
    def pinned(self) -> str:
        """The name with the revision that was read, where the cache knows; else as it was given."""
        commits = _commits(self._data)
        repository, _, rest = self.path.partition(":")
        if self.name.revision is None and len(commits) == 1:
            return f"{repository}@{commits.pop()}:{rest}"
        return self.path

    @property
    def sha256(self) -> str:
        """Of the rows that were read: what `datasets` calls a fingerprint differs by machine."""
        return self._hash.hexdigest()


def _loaded(datasets: Any, name: HubName, given: dict[str, str], limit: int | None) -> Any:
    config = given.pop("name", None)
    where = (name.repository,) if config is None else (name.repository, config)
    sliced = "[" in str(name.split)  # a slice of a split cannot be streamed
    if limit is not None and not sliced:
        with suppress(Exception):  # what is in the cache can be had without a network
            return datasets.load_dataset(*where, split=name.split, streaming=True, **given)
    return datasets.load_dataset(*where, split=name.split, **given)


def _commits(data: Any) -> set[str]:
    """Revisions that cached rows are of, by the addresses and the folders of their files."""
    addresses = getattr(getattr(data, "info", None), "download_checksums", None) or {}
    files = [file["filename"] for file in getattr(data, "cache_files", None) or ()]
    return {match[1] for text in (*addresses, *files) if (match := _COMMIT.search(str(text)))}


def _cached(data: Any) -> bool:
    """Whether rows are from the cache; what is streamed is of the revision that was asked for."""
    return bool(getattr(data, "cache_files", None))


@contextmanager
def _bars_on_terminals_only(datasets: Any) -> Iterator[None]:
    if sys.stderr.isatty() or datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
