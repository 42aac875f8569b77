"""Put the tables that `make bench` measured into docs/benchmarks.md, between its markers.

python benchmarks/page.py [--results DIR] [--page FILE]
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Every `<!-- NAME -->` ... `<!-- end -->` gets the table of results/NAME.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "benchmarks.md")
    given = parser.parse_args()
    page = given.page.read_text()
    for table in given.results.glob("*.md"):
        page = between(page, table.stem, table.read_text().strip())
    scoring = given.results / "scoring.json"
    if scoring.exists():
        facts = json.loads(scoring.read_text())
        page = between(
            page,
            "machine",
            f"{facts['processor']}, {facts['threads']} threads, {facts['peak_gflops']} GFLOP/s in "
            f"float32 matrix products, load {facts['load']} at the end.",
        )
    given.page.write_text(page)


def between(page: str, name: str, text: str) -> str:
    """The page with other text between a name's markers; as it is where they are not."""
    pattern = rf"(<!-- {name} -->\n\n).*?(\n\n<!-- end -->)"
    return re.sub(pattern, lambda found: found[1] + text + found[2], page, flags=re.DOTALL)


if __name__ == "__main__":
    main()
