"""Where figures go: a table on the terminal, JSON and Markdown in `benchmarks/results/`."""

import datetime
import itertools
import json
import math
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from absl import flags

from jaxdqn import errors
from jaxdqn.cli import paths
from jaxdqn.rundir import provenance
from jaxdqn.storage import atomic_files

RESULTS = pathlib.Path(__file__).parent / "results"

# The flags below belong to the program that defines them: its `--help` shows them.
flags.disclaim_key_flags()


def define_flags(rounds: int = 5, *, warms_up: bool = True) -> None:
    """Defines the flags that the benchmarks share.

    Args:
      rounds: the default of their number.
      warms_up: a first round does not count.
    """
    counted = ", after a first round that does not count" if warms_up else ""
    flags.DEFINE_integer("rounds", rounds, f"number of rounds{counted}", lower_bound=1)
    define_out()


def define_out() -> None:
    """Defines the flag for the folder of results."""
    flags.DEFINE_string("out", None, "folder of the results (default: benchmarks/results)")


def define_seconds(default: float, text: str, at_least: float = 0.1) -> None:
    """Defines the flag for the length of a measurement."""
    flags.DEFINE_float("seconds", default, text, lower_bound=at_least)
    flags.register_validator("seconds", math.isfinite, "must be a finite number")


def out_folder() -> pathlib.Path:
    """The folder that the user named for results. Call it before anything is measured.

    Raises:
      SettingError: nothing can be written there.
    """
    folder = paths.usable("out", flags.FLAGS.out or RESULTS)
    if problem := why_not_written(folder):
        raise errors.SettingError("out", problem)
    return folder


def why_not_written(folder: pathlib.Path) -> str:
    """Creates a folder and tries to write there; returns the problem, '' for none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}"
    return ""


def machine(hardware: dict[str, Any]) -> str:
    """A short name of the hardware for file names, such as '2core-amd-epyc'."""
    kinds = [kind for kind in hardware["devices"] if kind != "cpu"]
    name = f"{len(kinds)}x {kinds[0]}" if kinds else hardware["cpu"]
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{hardware['cores']}core-{words}"


class Result:
    """A benchmark's result. It is on disk from the first figures on, because a later part may fail.

    In a `with` statement it prints the table and the file's name at the end or on an error. It
    replaces a result of the same command on the same day, and no other.

    Args:
      name: the first part of the file's name, before the machine and the date.
      folder: to write to.
    """

    def __init__(self, name: str, folder: pathlib.Path):
        self._name, self._folder = name, folder
        self._date = (
            datetime.date.today().isoformat()
        )  # one file, even if the benchmark ends tomorrow
        self._command = f"python -m {_module()} {shlex.join(sys.argv[1:])}".strip()
        self._commit = _commit()
        self._shown, self._path = "", folder

    def __enter__(self) -> "Result":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print(f"{self._shown}\nwritten to {self._path}", flush=True)

    def keep(
        self, figures: dict[str, Any], shown: str, made_with: dict[str, Any] | None = None
    ) -> pathlib.Path:
        """Writes everything that is known so far; returns the file.

        Args:
          figures: by name.
          shown: the table.
          made_with: `versions` and `hardware`, if another process measured: JAX here would take the
            devices away from the next process.

        Raises:
          RunError: it cannot be written.
        """
        made_with = made_with or {
            "versions": provenance.versions(),
            "hardware": provenance.hardware(),
        }
        path = self._file(made_with["hardware"])
        whole = {
            "benchmark": self._name,
            "command": self._command,
            "commit": self._commit,
            "date": self._date,
            **made_with,
            **figures,
            "table": shown.splitlines(),
        }
        try:
            with atomic_files.whole(path) as part:
                part.write_text(json.dumps(whole, indent=1) + "\n")
        except errors.RunError:
            print(shown, flush=True)  # the figures are saved anyway
            raise
        self._shown, self._path = shown, path
        return path

    def earlier(self) -> dict[str, Any]:
        """What this command wrote before on the same day and machine; empty for nothing."""
        path = self._file(provenance.hardware())
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def _file(self, hardware: dict[str, Any]) -> pathlib.Path:
        """The first name that no other command has taken."""
        stem = f"{self._name}_{machine(hardware)}_{self._date}"
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        paths = (self._folder / f"{name}.json" for name in names)
        return next(
            path
            for path in paths
            if not path.exists() or json.loads(path.read_text())["command"] == self._command
        )


def finish(
    name: str,
    figures: dict[str, Any],
    shown: str,
    folder: pathlib.Path,
    made_with: dict[str, Any] | None = None,
) -> pathlib.Path:
    """Prints a benchmark's table and writes its result; see `Result`."""
    with Result(name, folder) as result:
        return result.keep(figures, shown, made_with)


def _commit() -> str | None:
    """The commit that is checked out, marked where files differ from it; None for no checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        told = subprocess.run(
            command, cwd=RESULTS, capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else pathlib.Path(sys.argv[0]).name


def on_cpu() -> dict[str, str]:
    """The environment of a process that is to find no accelerator."""
    return {**os.environ, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def run(command: Sequence[Any], *, shows_errors: bool = True, **options: Any) -> str:
    """Runs a program and returns its output.

    Args:
      command: a Python and its arguments.
      shows_errors: if the program fails, print all its output when that is more than the reason.
      **options: of `subprocess.run`.

    Raises:
      RunError: it failed; with the reason that it printed.
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, **options)
    if done.returncode:
        printed = done.stdout + done.stderr
        if shows_errors and printed.count("\n") > 1:
            print(printed, end="", file=sys.stderr)
        program = words[2] if words[1] == "-m" else pathlib.Path(words[1]).name
        reason = f"{program} failed with code {done.returncode}: {last_words(done.stderr)}"
        raise errors.RunError(reason.removesuffix(": "))
    return done.stdout


def lines(
    command: Sequence[Any],
    environment: Mapping[str, str],
    minutes: float | None = None,
    folder: str | None = None,
) -> Generator[str]:
    """The lines that a program prints, until it ends, its minutes are over, or nobody reads on.

    Args:
      command: a Python and its arguments.
      environment: of the program.
      minutes: after which it is killed; None for no limit.
      folder: in which it runs.

    Raises:
      RunError: it failed; with the reason that it printed.
    """
    end = time.time() + 60 * minutes if minutes else float("inf")
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(
            [str(word) for word in command],
            env=environment,
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=told,
            start_new_session=True,  # with its environments' processes
        ) as running,
    ):
        assert running.stdout is not None
        try:
            for line in running.stdout:
                yield line
                if time.time() >= end:
                    return
            code = running.wait()
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
        if code:
            told.seek(0)
            reason = last_words(told.read())
            raise errors.RunError(f"{command[1]} failed with code {code}: {reason}")


def last_words(printed: str) -> str:
    """The last line of a program's output that reports an error, or else the last line."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or [""])[-1]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, padded so that it is also readable on a terminal."""
    cells = [list(head), *([_shown(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
