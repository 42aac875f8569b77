"""The notebooks run from top to bottom, and hold what they print."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's transport, not ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    committed = [cell.get("outputs") for cell in notebook.cells]
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    # An assertion of the notebook that fails raises above. The text it prints is the same too.
    for cell, before in zip(notebook.cells, committed, strict=True):
        printed = [out["text"] for out in cell.get("outputs", []) if out.output_type == "stream"]
        kept = [out["text"] for out in before or [] if out.output_type == "stream"]
        assert printed == kept, cell.source
