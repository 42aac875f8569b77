"""Published results on reward models, run again: what `docs/reproduced.md` sets beside the papers.

    python benchmarks/reproduced.py gao            # or coste, razin, rafailov, verifier
    python benchmarks/reproduced.py rewardmath DATA  # or null-model, annotators, length

Cells that cost more than seconds are kept in ``benchmarks/cells/reproduced.jsonl``; a command goes
on where it stopped. DATA is a folder of published data, one folder a data set (docs/data.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

IN_WORLDS = ("gao", "coste", "razin", "rafailov", "verifier")
ON_DATA = ("rewardmath", "null-model", "annotators", "length")


def main() -> None:
    """Run one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*IN_WORLDS, *ON_DATA])
    parser.add_argument("data", type=Path, nargs="?", help="folder of published data")
    given = parser.parse_args()
    if given.what in IN_WORLDS:
        from reproductions import worlds

        getattr(worlds, given.what)()
        return
    if given.data is None or not given.data.is_dir():
        parser.error(f"{given.what} needs the folder of published data")
    from reproductions import data

    getattr(data, given.what.replace("-", "_"))(given.data)


if __name__ == "__main__":
    main()
