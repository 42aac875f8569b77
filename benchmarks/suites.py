"""The official numbers of every suite against a slow second implementation of its rule.

``python benchmarks/suites.py 1000`` draws so many random score files a suite (ties, NaN, null,
missing groups) and prints how many of their numbers differ by more than 1e-9. The rules and the
files are those of ``tests/suites``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "suites"))

from random_rows import ROWS
from test_slow_rules import differences


def main(files: int) -> None:
    """One line a suite."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        for suite in ROWS:
            start = time.perf_counter()
            found = [line for seed in range(files) for line in differences(suite, seed, path)]
            seconds = time.perf_counter() - start
            print(f"{suite}: {files} files, {len(found)} numbers differ, {seconds:.0f} s")
            for line in found[:5]:
                print("  ", line)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
