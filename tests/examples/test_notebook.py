"""The notebook, executed as it is but for the lengths of its runs."""

import os
import pathlib
import subprocess
import sys

import nbformat

from tests import program

NOTEBOOK = program.ROOT / "examples" / "first_agent.ipynb"
SHORT = """
SOURCE, RUNS = "not needed", "runs"
CARTPOLE_STEPS, BREAKOUT_STEPS = 3_000, 6_000
"""


def test_the_notebook_trains_films_and_exports(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # they would soon be wrong
    (chosen,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    assert all(f"{name} = " in chosen.source for name in ("SOURCE", "RUNS", "CARTPOLE_STEPS"))
    chosen.source = SHORT
    path = tmp_path / NOTEBOOK.name
    nbformat.write(notebook, path)
    bin_folder = pathlib.Path(sys.executable).parent
    environment = {
        **program.environment(is_long=True),
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(program.ROOT),
    }
    environment.pop("MPLBACKEND", None)  # EnvPool sets it where it is imported
    command = [bin_folder / "jupyter-execute", "--inplace", "--timeout=300", path]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)

    executed = nbformat.read(path, as_version=4)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", ())]
    printed = "".join(output.get("text", "") for output in outputs)
    assert "error" not in printed
    assert printed.count("complete, ") == 2 and "mean return" in printed
    shown = [output.data for output in outputs if "data" in output]
    assert sum("image/png" in data for data in shown) == 2  # curves
    assert sum("video/mp4" in data.get("text/html", "") for data in shown) == 2
    assert "array" in shown[-1]["text/plain"]
    assert (tmp_path / "runs" / "exported" / "policy.onnx").is_file()
