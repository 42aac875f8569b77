"""Parquet and Arrow files, saved `datasets` folders, and tables in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rmaudit.data.chunks import CHUNK_ROWS, Columns, Reader, Records, in_chunks
from rmaudit.data.classlabels import Names, feature_names, schema_names, with_names
from rmaudit.data.faults import Damage, Fault
from rmaudit.data.streams import HashedFile, digest, too_large, unpacks_too_far, unreadable
from rmaudit.errors import DataError
from rmaudit.files import opened, read_text

MEMORY = "<memory>"


class ArrowFiles(Reader):
    """Arrow tables read from one file or several, one after the other."""

    def __init__(self, path: Path, files: Sequence[Path], names: Names | None = None) -> None:
        self.path = str(path)
        self._files = files
        self._names = names or {}  # of class labels, beside those in the files themselves

    def chunks(self) -> Iterator[Columns]:
        """Rows by their place in the files, from 1."""
        first = 1
        for file in self._files:
            for batch in self._batches(file, first):
                yield Columns(first, batch)
                first += batch.num_rows

    def _batches(self, file: Path, first: int) -> Iterator[Any]:
        """The tables of one file; `first` is the number of its first row."""
        import pyarrow as pa

        row = first
        try:
            for batch in _batches_of(file):
                table = pa.Table.from_batches([batch])
                table = with_names(table, {**schema_names(table.schema), **self._names})
                if len(set(table.column_names)) < table.num_columns:
                    raise DataError(f"{file}: two columns have one name; rename one")
                for start in range(0, table.num_rows, CHUNK_ROWS):
                    part = table.slice(start, CHUNK_ROWS)
                    yield part
                    row += part.num_rows
        except FileNotFoundError as error:
            raise unreadable(file, error) from error
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: of names
            what = str(error).splitlines()[0]
            if row == 1:
                raise DataError(
                    f"{file}: cannot be read as {_format(file)} ({what}); write it again"
                ) from error
            raise Damage(what, row) from error

    @property
    def sha256(self) -> str:
        """Of the files' digests, or the digest itself where there is one file."""
        digests = [HashedFile(file).sha256 for file in self._files]
        return digests[0] if len(digests) == 1 else digest(d.encode() for d in digests)


def _format(file: Path) -> str:
    """Of a table: by its first bytes, by its ending where those do not tell."""
    with opened(file) as first:
        head = first.read(6)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head == b"ARROW1" or head.startswith((b"FEA1", b"\xff\xff\xff\xff")):
        return "feather" if head[:1] != b"\xff" else "arrow"
    return {".arrow": "arrow", ".feather": "feather"}.get(file.suffix.lower(), "parquet")


def _batches_of(file: Path) -> Iterator[Any]:
    return {"parquet": _parquet, "feather": _feather, "arrow": _arrow}[_format(file)](file)


def _feather(file: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.feather as feather

    with opened(file) as first:
        old = first.read(4) == b"FEA1"
    if old:
        yield from feather.read_table(file).to_batches()
        return
    with pa.OSFile(str(file)) as source, pa.ipc.open_file(source) as batches:
        for place in range(batches.num_record_batches):
            batch = batches.get_batch(place)
            for column in batch.columns:
                _check(column)
            yield batch


def _parquet(file: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        groups = [parquet.metadata.row_group(i) for i in range(parquet.num_row_groups)]
        if too_large(sum(group.total_byte_size for group in groups), file.stat().st_size):
            raise unpacks_too_far(str(file))
        yield from parquet.iter_batches(batch_size=CHUNK_ROWS)


def _arrow(file: Path) -> Iterator[Any]:
    import pyarrow as pa

    # `datasets` writes the streaming format.
    with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            for column in batch.columns:
                _check(column)
            yield batch


def _check(column: Any) -> None:
    """`ArrowInvalid` for a column that points outside its own memory: the format has no checksum.

    Text that is no Unicode is left to the check of the rows, but inside lists and structures.
    """
    import pyarrow as pa

    as_bytes = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    if column.type in as_bytes:
        column.view(as_bytes[column.type]).validate(full=True)
    else:
        column.validate(full=True)


def saved_folder(path: Path) -> ArrowFiles:
    """A folder written by `datasets`' save_to_disk; of several splits the folder of one."""
    splits = path / "dataset_dict.json"
    if splits.is_file():
        names = _inside(splits, _json_file(splits).get("splits", []))
        if len(names) != 1:
            raise DataError(f"{path}: holds the splits {', '.join(names)}; give one: {path}/SPLIT")
        path = path / names[0]
    state = path / "state.json"
    if not state.is_file():
        raise DataError(
            f"{path}: is a folder but no saved datasets folder (no state.json); give a file"
        )
    parts = _json_file(state).get("_data_files", [])
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        parts = []
    files = _inside(state, [part.get("filename") for part in parts])
    if not files:
        raise DataError(f"{state}: names no data files; save the data set again")
    info = path / "dataset_info.json"
    features = _json_file(info).get("features") if info.is_file() else None
    return ArrowFiles(path, [path / file for file in files], feature_names(features))


def _inside(where: Path, names: object) -> list[str]:
    """Names of files or folders in the folder of `where`; not those of others elsewhere."""
    if not isinstance(names, list) or not all(
        isinstance(name, str)
        and name.isprintable()
        and Path(name).name == name
        and name not in ("", "..")
        for name in names
    ):
        raise DataError(f"{where}: names what is not in its folder; save the data set again")
    return names


def _json_file(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_text(path))
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error}); save the data set again") from error
    return value if isinstance(value, dict) else {}


class Memory(Reader):
    """A pandas DataFrame or a list of objects."""

    path = MEMORY

    def __init__(self, data: pd.DataFrame | Sequence[Mapping[str, Any]]) -> None:
        self._data = data
        self._hash = hashlib.sha256()

    def chunks(self) -> Iterator[Records]:
        """Rows by position, from 1."""
        return in_chunks((n, value, 0) for n, value in enumerate(self._records(), start=1))

    def _records(self) -> Iterator[object]:
        for value in self._values():
            try:
                plain = _plain(value)
                text = repr(plain)
            except RecursionError:
                plain, text = Fault(None, "nested too deeply"), ""
            self._hash.update(text.encode("utf-8", "surrogatepass"))
            yield plain

    def _values(self) -> Iterator[object]:
        if not isinstance(self._data, pd.DataFrame):
            yield from self._data
            return
        for start in range(0, len(self._data), CHUNK_ROWS):
            yield from self._data.iloc[start : start + CHUNK_ROWS].to_dict("records")

    @property
    def sha256(self) -> str:
        """Of the rows that were read, as Python writes them."""
        return self._hash.hexdigest()


def _plain(value: Any) -> Any:
    """Python's own types for those of numpy and pandas, all the way down."""
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if value is pd.NA or value is pd.NaT:
        return None
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return _plain(value.tolist())
    return value
