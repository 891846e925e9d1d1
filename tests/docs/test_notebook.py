"""The notebook runs from its first cell to its last."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

NOTEBOOK = ROOT / "notebooks" / "first-steps.ipynb"
LIMIT = "MINUTES = 1.0"


def test_the_notebook_runs_and_shows_what_it_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bar, a curve, a text and a text coloured by surprise; in seconds, not minutes."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    limited = [cell for cell in notebook.cells if LIMIT in cell.source]
    assert len(limited) == 1
    limited[0].source = limited[0].source.replace(LIMIT, "MINUTES = 0.03")
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= kinds
    text = "".join(output.get("text", "") for output in outputs)
    assert "nats per character, saved in" in text
    assert "--- temperature 1.2" in text


def test_the_notebook_was_saved_as_it_ran() -> None:
    """Its outputs are those of one run of all cells, in order, and none of them is an error."""
    cells = [
        cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"
    ]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(o.output_type == "error" for cell in cells for o in cell.outputs)
