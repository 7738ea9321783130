"""Where metrics go: `metrics.jsonl`, one object a line, and TensorBoard events of those names."""

import contextlib
import json
import math
import pathlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from jaxdqn import errors
from jaxdqn.rundir import tensorboard
from jaxdqn.storage import append_log, atomic_files

FILE = "metrics.jsonl"
# What equal runs do not share: time, and memory and bytes that depend on it.
VARYING = frozenset(
    {
        *("time_s", "steps_per_second", "memory_used_bytes", "device_memory_used_bytes"),
        *("checkpoint_stall_s", "checkpoint_write_s", "checkpoint_bytes"),
    }
)
_SCORE = "eval_return_mean"
_SCORES = (_SCORE, "eval_return_std")  # null where a return was not finite
Value = float | int | None
Row = dict[str, Any]


class Listener:
    """Takes rows and writes none: another process does. It knows the scores of all evaluations.

    Args:
      rows: of the run so far; of no use are others than `known` gives.
      from_step: where the run goes on.
    """

    def __init__(self, rows: Sequence[Row], from_step: int):
        # What a run that goes on at this step tells again: it was saved before it had told it.
        self._from_step = from_step
        self._told = {frozenset(row) for row in rows if row["step"] == from_step}
        self._evaluations = evaluations(rows)

    def write(self, step: int, values: Mapping[str, Value]) -> None:
        """Writes one row; what is None or not finite stands as null and in no TensorBoard curve."""
        row = {"step": step} | {
            name: value if value is not None and math.isfinite(value) else None
            for name, value in values.items()
        }
        if step == self._from_step and frozenset(row) in self._told:
            return
        self._put(row)
        self._evaluations += evaluations([row])

    def _put(self, row: Row) -> None:
        """Nowhere."""

    def show_film(self, step: int, gif: bytes, height: int, width: int) -> None:
        """Shows an animated GIF in TensorBoard, among its images."""

    def try_again(self) -> None:
        """Writes what waits."""

    @property
    def problem(self) -> str:
        """Why rows are not on disk yet; empty if all are, or are not to be."""
        return ""

    @property
    def last_evaluation(self) -> Row | None:
        """The newest row of an evaluation."""
        return self._evaluations[-1] if self._evaluations else None

    @property
    def best_evaluation(self) -> Row | None:
        """The row of the evaluation with the highest mean return."""
        return best(self._evaluations)

    def best_among(self, steps: Collection[int]) -> Row | None:
        """The same of evaluations at these steps."""
        return best([row for row in self._evaluations if row["step"] in steps])

    def close(self) -> None:
        """Closes the files."""


class Writer(Listener):
    """Appends rows. Opening it drops rows that lie ahead of `from_step`: they will come anew.

    Args:
      directory: of the run.
      from_step: where the run goes on.
      mirror: gets every row as it is written.

    Raises:
      RunError: the files cannot be written.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        from_step: int,
        mirror: Callable[[Row], None] = lambda row: None,
    ):
        path = directory / FILE
        rows = [row for row in read(path) if row["step"] <= from_step]
        super().__init__(rows, from_step)
        with atomic_files.whole(path) as part:
            part.write_text("".join(map(_line, rows)))
        self._file, self._mirror = append_log.Appender(path), mirror
        self._events = tensorboard.Events(directory / "tensorboard", purge_step=from_step + 1)

    def _put(self, row: Row) -> None:
        self._file.append(_line(row).encode())
        finite = {name: x for name, x in row.items() if name != "step" and x is not None}
        self._events.scalars(row["step"], finite)
        self._mirror(row)

    def show_film(self, step: int, gif: bytes, height: int, width: int) -> None:
        """Shows an animated GIF in TensorBoard, among its images."""
        self._events.film(step, gif, height, width)

    def try_again(self) -> None:
        """Writes what waits."""
        self._file.append()

    @property
    def problem(self) -> str:
        """Why rows are not on disk yet; empty if all are."""
        return self._file.problem or self._events.problem

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        self._events.close()


def known(directory: pathlib.Path, from_step: int) -> list[Row]:
    """The rows of a run that say what it has done up to a step: its evaluations, and the last."""
    rows = [row for row in read(directory / FILE) if row["step"] <= from_step]
    return [row for row in rows if row["step"] == from_step or evaluations([row])]


def training(rows: Iterable[Row]) -> list[Row]:
    """The rows of training."""
    return [row for row in rows if "episode_return_mean" in row]


def checkpoints(rows: Iterable[Row]) -> list[Row]:
    """The rows of saves."""
    return [row for row in rows if "checkpoint_bytes" in row]


def evaluations(rows: Iterable[Row]) -> list[Row]:
    """The rows of evaluations, those without a score included."""
    return [row for row in rows if _SCORE in row]


def scored(rows: Iterable[Row]) -> list[Row]:
    """The rows of evaluations that have a score: every return was finite."""
    return [
        row
        for row in evaluations(rows)
        if all(number(row.get(name)) is not None for name in _SCORES)
    ]


def number(value: Any) -> float | None:
    """A value of a row as a number; None for what is none, is not finite, or overflows."""
    if type(value) is float:  # which almost all are
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of hundreds of digits
        return None


def best(rows: Sequence[Row]) -> Row | None:
    """Of rows of evaluations the one with the highest mean return; of equal ones the last.

    One whose mean return is not finite is never the best; None where there is no other.
    """
    return max(scored(rows), key=lambda row: (row[_SCORE], row["step"]), default=None)


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"


def read(path: pathlib.Path) -> Iterator[Row]:
    """The rows of a file; a line that was cut off while it was written is left out.

    Raises:
      RunError: it cannot be read.
    """
    if path.is_file():
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise errors.RunError(f"{path} cannot be read: {error}") from None
        yield from parse(text)


def parse(text: str) -> Iterator[Row]:
    """The same of what stands in a file."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                yield row
