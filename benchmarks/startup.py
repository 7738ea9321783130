r"""Measures the time from the command to the first updates, done after 1,024 steps.

  python -m benchmarks.startup --env=Breakout

Cold: with an empty compilation cache. Warm: with the cache of an earlier start.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

from absl import flags

from benchmarks import clock, report
from jaxdqn import cli, presets

_SETTINGS = {
    "learning_starts_steps": 1_000,
    "replay_capacity": 16_000,
    "total_steps": 100_000,
    "log_every_steps": 1_024,  # the first line comes when the first updates are done
}


def _first_update_s(cache: str) -> float:
    """Seconds from the start of a process to the line that tells of its first updates."""
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
            if line.startswith("step ") and "loss - " not in line:
                elapsed = time.perf_counter() - start
                process.kill()
                process.wait()
                return elapsed
    sys.exit(f"error: training ended with code {process.wait()} before its first update")


def main() -> int:
    """Measures as the flags say and reports."""
    values = flags.FLAGS
    presets.resolve(values.env, "", _SETTINGS)  # a wrong name is refused here
    with tempfile.TemporaryDirectory() as folder:
        empty = (str(pathlib.Path(folder, str(number))) for number in range(values.rounds + 1))
        warm = str(pathlib.Path(folder, "warm"))
        taken = clock.interleaved(
            {"cold": lambda: _first_update_s(next(empty)), "warm": lambda: _first_update_s(warm)},
            values.rounds,
        )
    rates = {name: clock.Rate.of(seconds) for name, seconds in taken.items()}
    rows = [(name, rate.median, rate.lowest, rate.highest) for name, rate in rates.items()]
    result = {"seconds": {name: rate._asdict() for name, rate in rates.items()}}
    head = ("start", "seconds", "least", "most")
    report.finish(f"startup_{values.env}", result, report.table(head, rows), values.out)
    return 0


def _define_flags() -> None:
    flags.DEFINE_string("env", "Breakout", "game")
    report.define_flags()


if __name__ == "__main__":
    cli.run_program(_define_flags, main)
