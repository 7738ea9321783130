r"""Measures training end to end over environments, batch sizes, replay capacities and devices.

  pip install -e '.[bench]' && python -m benchmarks.scaling --env=Breakout

Each point is a process of its own that runs `benchmarks.throughput`; all other settings are those
of the preset. A plot of each sweep lies beside the JSON.
"""

import json
import os
import pathlib
import sys
import tempfile
from typing import Any

from absl import flags

from benchmarks import report
from jaxdqn import cli, presets

# At a larger batch fewer updates keep 8 samples per step.
_SWEEPS: dict[str, list[dict[str, int]]] = {
    "num_envs": [{"num_envs": n} for n in (2, 8, 16, 32, 64, 128, 256)],
    "batch_size": [
        {"batch_size": n, "steps_per_update": n // 8} for n in (32, 64, 128, 256, 512, 1024)
    ],
    "replay_capacity": [{"replay_capacity": n} for n in (32_000, 100_000, 320_000, 1_000_000)],
    "devices": [{"devices": n} for n in (1, 2, 4, 8)],
}
_COLUMNS = (
    "training_steps_per_second",
    "share_of_bound",
    "emulators_steps_per_second",
    "device_steps_per_second",
    "samples_per_step",
)


def _point(settings: dict[str, int]) -> dict[str, Any] | None:
    """Throughput under some settings; None where the machine cannot have them."""
    values = flags.FLAGS
    environment = dict(os.environ)
    if "devices" in settings:  # a CPU is split into so many; others have those they have
        option = f"--xla_force_host_platform_device_count={settings['devices']}"
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {option}"
    # By the first step that counts, the largest number of environments has made its transitions.
    whole = {"replay_capacity": values.replay_capacity, "learning_starts_steps": 4_000} | settings
    whole |= {"env": values.env, "rounds": values.rounds, "seconds": values.seconds}
    with tempfile.TemporaryDirectory() as folder:
        words = [f"--{name}={value}" for name, value in (whole | {"out": folder}).items()]
        try:
            report.run([sys.executable, "-m", "benchmarks.throughput", *words], env=environment)
        except SystemExit:  # it has told why
            return None
        (path,) = pathlib.Path(folder).iterdir()
        result: dict[str, Any] = json.loads(path.read_text())
    return result


def _plot(path: pathlib.Path, sweep: str, points: list[tuple[int, dict[str, Any]]]) -> None:
    """Steps/s of training, of the emulators alone and of the device alone."""
    try:
        import matplotlib
    except ImportError:  # the figures are there all the same
        print("no plot: matplotlib is not installed", file=sys.stderr)
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

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
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _sweep(name: str) -> None:
    """Measures one sweep; what is measured stays when a later point fails."""
    values, points = flags.FLAGS, []
    for settings in _SWEEPS[name]:
        if values.only and str(settings[name]) not in values.only:
            continue
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
            values.out,
            {key: point[key] for key in ("versions", "hardware")},
        )
    if not points:
        sys.exit(f"error: no point of {name} could be measured")
    _plot(path.with_suffix(".png"), name, points)


def main() -> int:
    """Measures as the flags say and reports."""
    presets.resolve(flags.FLAGS.env, "", {})  # a wrong name is refused here
    for name in flags.FLAGS.sweeps:
        _sweep(name)
    return 0


def _define_flags() -> None:
    flags.DEFINE_string("env", "Breakout", "game")
    flags.DEFINE_multi_enum("sweeps", list(_SWEEPS), list(_SWEEPS), "what is varied; repeatable")
    flags.DEFINE_list("only", [], "measure these values alone, of those that a sweep has")
    flags.DEFINE_integer("replay_capacity", 102_400, "steps of replay, where it is not varied")
    report.define_flags(rounds=3)
    flags.DEFINE_float("seconds", 1.5, "of each measurement in a round", lower_bound=0.1)


if __name__ == "__main__":
    cli.run_program(_define_flags, main)
