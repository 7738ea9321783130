r"""Measures the time from the command to the first updates, after 1,024 steps.

  python -m benchmarks.startup --env=Breakout

A cold start has an empty compilation cache. A warm start has the cache of an earlier start.
"""

import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from absl import flags

from benchmarks import clock, report
from jaxdqn import errors
from jaxdqn.cli import program
from jaxdqn.settings import presets

_SETTINGS = {
    "learning_starts_steps": 1_000,
    "replay_capacity": 16_000,
    "total_steps": 100_000,
    "log_every_steps": 1_024,  # the first line is printed after the first updates
}


def _first_update_s(cache: str) -> float:
    """Seconds from the start of a process to the line that shows its first updates."""
    with tempfile.TemporaryDirectory() as run_dir:
        settings = _SETTINGS | {"env": flags.FLAGS.env, "run_dir": run_dir}
        settings["compilation_cache_dir"] = cache
        environment = dict(os.environ)
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxdqn.train", *(f"--{k}={v}" for k, v in settings.items())],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step ") and "  loss " in line and "  loss - " not in line:
                elapsed = time.perf_counter() - start
                process.kill()
                process.wait()
                return elapsed
    raise errors.RunError(f"training ended with code {process.wait()} before its first update")


def _kept(result: report.Result, taken: dict[str, list[float]]) -> None:
    """Writes what has been measured so far."""
    rates = {name: clock.Rate.of(seconds) for name, seconds in taken.items()}
    rows = [(name, rate.median, rate.lowest, rate.highest) for name, rate in rates.items()]
    figures: dict[str, Any] = {"seconds": {name: rate._asdict() for name, rate in rates.items()}}
    result.keep(figures, report.table(("start", "seconds", "least", "most"), rows))


def main() -> int:
    """Measures as the flags say and reports."""
    values = flags.FLAGS
    presets.resolve(values.env, "", _SETTINGS)  # a wrong name is refused here
    result = report.Result(f"startup_{values.env}", report.out_folder())
    with tempfile.TemporaryDirectory() as folder, result:
        empty = (str(pathlib.Path(folder, str(number))) for number in range(values.rounds + 1))
        warm = str(pathlib.Path(folder, "warm"))
        clock.interleaved(
            {"cold": lambda: _first_update_s(next(empty)), "warm": lambda: _first_update_s(warm)},
            values.rounds,
            functools.partial(_kept, result),
        )
    return 0


def _define_flags() -> None:
    flags.DEFINE_string("env", "Breakout", "game")
    report.define_flags()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
