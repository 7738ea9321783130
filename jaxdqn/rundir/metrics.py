"""Where metrics go: `metrics.jsonl`, one object a line, and TensorBoard events of equal names."""

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
# Metrics that differ between equal runs: time, and memory and bytes that depend on it.
VARYING = frozenset(
    {
        *("time_s", "steps_per_second", "wall_time_s", "wall_steps_per_second"),
        *("memory_used_bytes", "device_memory_used_bytes"),
        *("checkpoint_stall_s", "checkpoint_write_s", "checkpoint_bytes"),
    }
)
# Each kind of row has a metric that no other has.
_TRAINING, _CHECKPOINT, _SCORE = "episode_return_mean", "checkpoint_bytes", "eval_return_mean"
_SCORES = (_SCORE, "eval_return_std")  # null where a return was not finite
_GAMES = "eval_episodes"
Value = float | int | None
Row = dict[str, Any]
# What is written of an evaluation in which an environment failed.
FAILED_EVALUATION: Mapping[str, Value] = {**dict.fromkeys(_SCORES), _GAMES: 0}


class Rows:
    """The rows of a run as they come, and the scores among them; another process writes them.

    Args:
      rows: of the run so far, from `known`.
      from_step: the step from which the run resumes.
    """

    def __init__(self, rows: Sequence[Row], from_step: int):
        # Rows that a run resumed at this step writes again: it was saved before it wrote them.
        self._from_step = from_step
        self._told = {frozenset(row) for row in rows if row["step"] == from_step}
        self._evaluations = evaluations(rows)

    def write(self, step: int, values: Mapping[str, Value]) -> None:
        """Records a row; subclasses also write it. Values that are not finite become None."""
        row = {"step": step} | {
            name: value if value is not None and math.isfinite(value) else None
            for name, value in values.items()
        }
        # What an older version wrote may lack some metrics.
        if step == self._from_step and any(told <= frozenset(row) for told in self._told):
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
        """Why rows are not on disk yet; empty if there is no problem."""
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
        """The best evaluation among these steps."""
        return best([row for row in self._evaluations if row["step"] in steps])

    def close(self) -> None:
        """Closes the files."""


class Writer(Rows):
    """Appends rows. Opening it drops rows after `from_step`, which will be written again.

    If the evaluation of that step failed, it is dropped too, and made again.

    Args:
      directory: of the run.
      from_step: the step from which the run resumes.
      mirror: receives every row as it is written.

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
        rows = _kept(path, from_step)
        super().__init__(rows, from_step)
        text = "".join(map(_line, rows))
        # What need not change is left alone: a crash then has nothing to spoil.
        if not path.is_file() or path.read_text() != text:
            with atomic_files.whole(path) as part:
                part.write_text(text)
        self._file, self._mirror = append_log.Appender(path), mirror
        self._events = tensorboard.Events(directory / tensorboard.FOLDER, purge_step=from_step + 1)

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
    """The rows of a run up to a step that `Rows` needs: evaluations, and those of the step."""
    rows = _kept(directory / FILE, from_step)
    return [row for row in rows if row["step"] == from_step or evaluations([row])]


def _kept(path: pathlib.Path, from_step: int) -> list[Row]:
    """The rows that remain when a run resumes from a step."""
    rows = (row for row in read(path) if row["step"] <= from_step)
    return [row for row in rows if row["step"] < from_step or not has_failed(row)]


def training(rows: Iterable[Row]) -> list[Row]:
    """The rows of training."""
    return [row for row in rows if _TRAINING in row]


def learning(rows: Iterable[Row]) -> list[Row]:
    """The rows of one piece of learning, such as a rollout or a sweep."""
    others = {_TRAINING, _CHECKPOINT, _SCORE}
    return [row for row in rows if others.isdisjoint(row)]


def checkpoints(rows: Iterable[Row]) -> list[Row]:
    """The rows of saves."""
    return [row for row in rows if _CHECKPOINT in row]


def evaluations(rows: Iterable[Row]) -> list[Row]:
    """The rows of evaluations, including those without a score."""
    return [row for row in rows if _SCORE in row]


def has_failed(row: Row) -> bool:
    """Whether the row is of an evaluation in which an environment failed."""
    return _SCORE in row and row.get(_GAMES) == 0


def scored(rows: Iterable[Row]) -> list[Row]:
    """The rows of evaluations that have a score: every return was finite."""
    return [
        row
        for row in evaluations(rows)
        if all(number(row.get(name)) is not None for name in _SCORES)
    ]


def without_varying(rows: Iterable[Row]) -> list[Row]:
    """The rows without what differs between equal runs; without those that hold nothing else."""
    kept = [{name: x for name, x in row.items() if name not in VARYING} for row in rows]
    return [row for row in kept if len(row) > 1]


def number(value: Any) -> float | None:
    """A value of a row as a number; None if it is not a number, not finite, or overflows."""
    if type(value) is float:  # which almost all are
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of hundreds of digits
        return None


def best(rows: Sequence[Row]) -> Row | None:
    """The evaluation with the highest mean return; the last of equal ones.

    An evaluation whose mean return is not finite is never the best; None if there is no other.
    """
    return max(scored(rows), key=lambda row: (row[_SCORE], row["step"]), default=None)


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"


def read(path: pathlib.Path) -> Iterator[Row]:
    """The rows of a file; a line that was only partly written is left out.

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
    """The rows in the text of a file."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                yield row
