r"""Measures training end to end over environments, batch sizes, replay capacities and devices.

  pip install -e '.[bench]' && python -m benchmarks.scaling --env=Breakout

Each point is a process of its own that runs `benchmarks.throughput`; all other settings are those
of the preset. A plot of each sweep lies beside the JSON.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import matplotlib
from absl import flags

matplotlib.use("Agg")
from matplotlib import pyplot

from benchmarks import report
from jaxdqn import cli

# At a larger batch fewer updates keep 8 samples per step.
_SWEEPS: dict[str, list[dict[str, int]]] = {
    "num_envs": [{"num_envs": n} for n in (2, 8, 16, 32, 64, 128, 256)],
    "batch_size": [
        {"batch_size": n, "steps_per_update": n // 8} for n in (32, 64, 128, 256, 512, 1024)
    ],
    "replay_capacity": [{"replay_capacity": n} for n in (32_000, 100_000, 320_000, 1_000_000)],
    "devices": [{"devices": n} for n in (1, 2, 4, 8)],
}


def _point(settings: dict[str, int]) -> dict[str, Any]:
    """Throughput under some settings."""
    values = flags.FLAGS
    settings = {"replay_capacity": values.replay_capacity} | settings
    environment = dict(os.environ)
    devices = settings.pop("devices", 1)
    # On a GPU the first ones; on a CPU, which has one, virtual ones that share its cores.
    environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(devices)))
    environment["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    )
    # Even the largest number of environments has made its first transitions then.
    settings["learning_starts_steps"] = 4_000
    with tempfile.TemporaryDirectory() as folder:
        words = [f"--{name}={value}" for name, value in settings.items()]
        words += [f"--env={values.env}", f"--rounds={values.rounds}"]
        words += [f"--seconds={values.seconds}", f"--out={folder}"]
        subprocess.run(
            [sys.executable, "-m", "benchmarks.throughput", *words],
            check=True,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        (path,) = pathlib.Path(folder).iterdir()
        result: dict[str, Any] = json.loads(path.read_text())
    return result


def _plot(path: pathlib.Path, sweep: str, points: list[tuple[int, dict[str, Any]]]) -> None:
    """Steps/s of training, of the emulators alone and of the device alone."""
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    where = [value for value, _ in points]
    for key, label in (
        ("training_steps_per_second", "training"),
        ("emulators_steps_per_second", "emulators alone"),
        ("device_steps_per_second", "device alone"),
    ):
        axes.plot(where, [point[key] for _, point in points], marker="o", label=label)
    axes.set(xscale="log", yscale="log", xlabel=sweep, ylabel="steps/s")
    axes.set_xticks(where, [f"{value:,}" for value in where], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main() -> int:
    """Measures as the flags say and reports."""
    values = flags.FLAGS
    for sweep in values.sweeps:
        points = []
        for settings in _SWEEPS[sweep]:
            points.append((settings[sweep], _point(settings)))
            print(f"{sweep} {settings[sweep]:,}: {points[-1][1]['training_steps_per_second']:,.0f}")
        rows = [[value, *(point[key] for key in _COLUMNS)] for value, point in points]
        path = report.finish(
            f"scaling_{values.env}_{sweep}",
            {"sweep": sweep, "points": [point for _, point in points]},
            report.table((sweep, *_COLUMNS), rows),
            values.out,
            {key: points[0][1][key] for key in ("versions", "hardware")},
        )
        _plot(path.with_suffix(".png"), sweep, points)
    return 0


_COLUMNS = (
    "training_steps_per_second",
    "share_of_bound",
    "emulators_steps_per_second",
    "device_steps_per_second",
    "samples_per_step",
)


def _define_flags() -> None:
    flags.DEFINE_string("env", "Breakout", "game")
    flags.DEFINE_multi_enum("sweeps", list(_SWEEPS), list(_SWEEPS), "what is varied; repeatable")
    flags.DEFINE_integer("replay_capacity", 102_400, "steps of replay, where it is not varied")
    flags.DEFINE_integer("rounds", 3, "rounds that count, after one that does not", lower_bound=1)
    flags.DEFINE_float("seconds", 3.0, "of each measurement in a round", lower_bound=0.1)
    flags.DEFINE_string("out", None, "folder of the results (default: benchmarks/results)")


if __name__ == "__main__":
    cli.run_program(_define_flags, main)
