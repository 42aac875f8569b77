"""Rows, and the files and folders that hold them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

ROWS: list[dict[str, Any]] = [
    {"id": "a", "prompt": "p", "chosen": "good", "rejected": "bad", "subset": "s", "rank": 1},
    {"id": "b", "prompt": 'q,\n"r"', "chosen": "né", "rejected": "", "subset": "t", "rank": 2},
    {"id": "c", "prompt": "p", "chosen": "x", "rejected": "y", "subset": "s", "rank": 3},
]


def save_folder(folder: Path, table: pa.Table, parts: int = 2) -> Path:
    """What `datasets.Dataset.save_to_disk` writes."""
    folder.mkdir(parents=True)
    files = []
    for part, start in enumerate(range(0, table.num_rows, -(-table.num_rows // parts))):
        name = f"data-{part:05}-of-{parts:05}.arrow"
        files.append({"filename": name})
        part_table = table.slice(start, -(-table.num_rows // parts))
        with (
            pa.OSFile(str(folder / name), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema) as writer,
        ):
            writer.write_table(part_table)
    (folder / "state.json").write_text(json.dumps({"_data_files": files}))
    return folder


N = 6


PAIRS = [
    {"prompt": f"Is {i} odd or even?", "chosen": f"good {i}", "rejected": f"bad {i}"}
    for i in range(N)
]
