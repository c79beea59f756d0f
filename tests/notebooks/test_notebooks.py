"""Every notebook runs from top to bottom, and is stored without outputs."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_there_is_one():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    nbformat = pytest.importorskip("nbformat", reason="nbformat comes with the test extra")
    cells = nbformat.read(path, as_version=4).cells
    assert not [cell for cell in cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_runs(path, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="nbformat comes with the test extra")
    client = pytest.importorskip("nbclient", reason="nbclient comes with the test extra")
    monkeypatch.setenv("ACESIM_NOTEBOOK_EPOCHS", "6")
    monkeypatch.setenv("ACESIM_NOTEBOOK_OUT", str(tmp_path))
    played = client.NotebookClient(nbformat.read(path, as_version=4), timeout=500, kernel_name="python3").execute()
    tables = [output for cell in played.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("ace-sync" in str(output.get("data", {}).get("text/plain", "")) for output in tables)
    assert list(tmp_path.rglob("convergence.png"))
