r"""Measures how training speed depends on environments, batch, replay, devices and processes.

  pip install -e '.[bench]' && python -m benchmarks.scaling --env=Breakout --preset=atari

A sweep varies one of these. Each point runs `benchmarks.throughput` in its own process, with the
preset's other settings. Devices and processes are measured by `benchmarks.parallel`, with strong
and weak scaling; it receives all arguments after `--`. A plot of each sweep is stored next to its
JSON.
"""

import functools
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from absl import flags

from benchmarks import plots, report
from jaxdqn import errors
from jaxdqn.cli import program
from jaxdqn.settings import presets

# With a larger batch, fewer updates keep 8 samples per step.
_SWEEPS: dict[str, list[dict[str, int]]] = {
    "num_envs": [{"num_envs": n} for n in (2, 8, 16, 32, 64, 128, 256)],
    "batch_size": [
        {"batch_size": n, "steps_per_update": n // 8} for n in (32, 64, 128, 256, 512, 1024)
    ],
    "replay_capacity": [{"replay_capacity": n} for n in (32_000, 100_000, 320_000, 1_000_000)],
}
# By the first step that counts, the largest number of environments has made its transitions.
_STARTS = {"learning_starts_steps": 4_000}
_PARALLEL = ("devices", "processes")
_COLUMNS = (
    "training_steps_per_second",
    "share_of_bound",
    "emulators_steps_per_second",
    "device_steps_per_second",
    "samples_per_step",
)
_CURVES = {
    "training": "training_steps_per_second",
    "emulators alone": "emulators_steps_per_second",
    "device alone": "device_steps_per_second",
}


def _point(settings: dict[str, int]) -> dict[str, Any] | None:
    """The throughput with some settings; None if the machine cannot run them."""
    values = flags.FLAGS
    whole = {"replay_capacity": values.replay_capacity, **_STARTS} | settings
    whole |= {name: values[name].value for name in ("env", "preset", "rounds", "seconds")}
    with tempfile.TemporaryDirectory() as folder:
        words = [f"--{name}={value}" for name, value in (whole | {"out": folder}).items()]
        try:
            report.run([sys.executable, "-m", "benchmarks.throughput", *words])
        except errors.RunError:  # it has printed why
            return None
        (path,) = pathlib.Path(folder).iterdir()
        result: dict[str, Any] = json.loads(path.read_text())
    return result


def _chosen(name: str) -> list[dict[str, int]]:
    """The requested points of a sweep.

    Raises:
      SettingError: there are none.
    """
    only, points = flags.FLAGS.only, _SWEEPS[name]
    chosen = [point for point in points if not only or str(point[name]) in only]
    if not chosen:
        known = ", ".join(str(point[name]) for point in points)
        raise errors.SettingError("only", f"is {','.join(only)}; the sweep of {name} has {known}")
    return chosen


def _sweep(name: str, folder: pathlib.Path) -> None:
    """Measures one sweep; figures are kept if a later point fails."""
    values, points = flags.FLAGS, []
    for settings in _chosen(name):
        point = _point(settings)
        if point is None:
            print(f"{name} {settings[name]:,}: not here", flush=True)
            continue
        points.append((settings[name], point))
        rows = [[value, *(point[key] for key in _COLUMNS)] for value, point in points]
        path = report.finish(
            f"scaling_{values.env}_{name}",
            {"sweep": name, "points": [point for _, point in points]},
            report.table((name, *_COLUMNS), rows),
            folder,
            {key: point[key] for key in ("versions", "hardware")},
        )
    if not points:
        raise errors.RunError(f"no point of {name} could be measured")
    plots.lines(
        path.with_suffix(".png"),
        [value for value, _ in points],
        {label: [point[key] for _, point in points] for label, key in _CURVES.items()},
        xlabel=name,
        ylabel="steps/s",
    )


def main(passed_on: Sequence[str]) -> int:
    """Measures as the flags say and reports."""
    values = flags.FLAGS
    # Wrong settings are refused here.
    presets.resolve(
        values.env, values.preset, {"replay_capacity": values.replay_capacity, **_STARTS}
    )
    for name in values.sweeps:
        if name in _SWEEPS:
            _chosen(name)
        elif values.only and values.only[0] != "1":
            raise errors.SettingError("only", f"begin with 1, which other {name} are compared to")
    folder = report.out_folder()
    for name in values.sweeps:
        if name in _SWEEPS:
            _sweep(name, folder)
            continue
        words = [f"--over={name}", f"--env={values.env}", f"--preset={values.preset}"]
        words += [f"--rounds={values.rounds}", *passed_on]
        words += [f"--out={values.out}"] if values.out else []
        words += [f"--counts={','.join(values.only)}"] if values.only else []
        command = [sys.executable, "-m", "benchmarks.parallel", *words]
        if code := subprocess.run(command, check=False).returncode:
            raise errors.RunError(f"benchmarks.parallel --over={name} failed with code {code}")
    return 0


def _define_flags() -> None:
    flags.DEFINE_string("env", "Breakout", "game")
    flags.DEFINE_string("preset", "", "preset (default: the one of the game)")
    names = [*_SWEEPS, *_PARALLEL]
    flags.DEFINE_multi_enum("sweeps", names, names, "what to vary")
    flags.DEFINE_list("only", [], "measure only these values of a sweep")
    flags.DEFINE_integer("replay_capacity", 102_400, "capacity of the replay, unless it is varied")
    report.define_flags(rounds=3)
    report.define_seconds(1.5, "seconds of each measurement in a round")


if __name__ == "__main__":
    program.run_program(_define_flags, functools.partial(main, program.take_passed_on()))
