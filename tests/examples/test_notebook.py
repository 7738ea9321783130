"""The notebook, executed as it is but for the lengths of its runs."""

import os
import pathlib
import sys

import nbclient
import nbformat

from tests import program

NOTEBOOK = program.ROOT / "examples" / "first_agent.ipynb"
SHORT = """
SOURCE, RUNS = "not needed", "runs"
CARTPOLE_STEPS, BREAKOUT_STEPS = 3_000, 6_000
"""


def test_the_notebook_trains_films_and_exports(tmp_path, monkeypatch):
    bin_folder = pathlib.Path(sys.executable).parent
    for name, value in program.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(program.ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # they would soon be wrong
    (chosen,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    assert all(f"{name} = " in chosen.source for name in ("SOURCE", "RUNS", "CARTPOLE_STEPS"))
    chosen.source = SHORT
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output.get("text", "") for output in outputs)
    assert "error" not in printed
    assert printed.count("complete, ") == 2 and "mean return" in printed
    shown = [output.data for output in outputs if "data" in output]
    assert sum("image/png" in data for data in shown) == 2  # curves
    assert sum("video/mp4" in data.get("text/html", "") for data in shown) == 2
    assert "array" in shown[-1]["text/plain"]
    assert (tmp_path / "runs" / "exported" / "policy.onnx").is_file()
