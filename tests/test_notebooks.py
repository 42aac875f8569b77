"""The notebooks run from top to bottom, and hold what they print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


def streams(outputs: list[Any] | None) -> dict[str, list[str]]:
    """The distinct lines of each stream: the kernel cuts a stream into pieces as time has it."""
    texts: dict[str, str] = {}
    for out in outputs or []:
        if out.output_type == "stream":
            texts[out["name"]] = texts.get(out["name"], "") + out["text"]
    return {name: list(dict.fromkeys(text.splitlines())) for name, text in texts.items()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's transport, not ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(path, as_version=4)
    # Where a notebook has a size for tests: what it asserts holds there too.
    if any("'tiny'" in cell.source for cell in notebook.cells):
        monkeypatch.setenv("RMAUDIT_SIZE", "tiny")
    committed = [cell.get("outputs") for cell in notebook.cells]
    nbclient.NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
    # An assertion of the notebook that fails raises above. The lines it prints are the same too,
    # once each: fewer seeds print them fewer times.
    for cell, before in zip(notebook.cells, committed, strict=True):
        printed, kept = streams(cell.get("outputs")), streams(before)
        assert printed == kept, cell.source
