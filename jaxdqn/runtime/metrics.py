"""Where metrics go: `metrics.jsonl`, one object a line, and TensorBoard events of those names."""

import json
import pathlib
from collections.abc import Mapping

import tensorboardX

FILE = "metrics.jsonl"
Value = float | int | None


class Writer:
    """Appends rows. Opening it drops rows that lie ahead of `from_step`: they will come anew."""

    def __init__(self, directory: pathlib.Path, from_step: int):
        path = directory / FILE
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if _step_of(line) <= from_step]
            if kept != lines:
                path.write_text("".join(kept))
        self._file = path.open("a")
        self._events = tensorboardX.SummaryWriter(
            str(directory / "tensorboard"), purge_step=from_step + 1 if from_step else None
        )

    def write(self, step: int, row: Mapping[str, Value]) -> None:
        """Writes one row; values that are None stand as null and in no TensorBoard curve."""
        self._file.write(json.dumps({"step": step, **row}) + "\n")
        self._file.flush()
        for name, value in row.items():
            if value is not None:
                self._events.add_scalar(name, value, step)
        self._events.flush()

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        self._events.close()


def _step_of(line: str) -> float:
    """The step of a row; infinite where a line was cut off while it was written."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
