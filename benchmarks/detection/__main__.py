"""Command line: see `detection.run`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from detection.run import main

if __name__ == "__main__":
    main()
