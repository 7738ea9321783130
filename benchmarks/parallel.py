r"""Measures how a run scales over processes, or over the devices of one process.

  pip install -e '.[bench]' && python -m benchmarks.parallel --over=processes --counts=1,2,4,8

A worker is a process or a device, with its own cores or GPU. Strong scaling: more workers share the
same run. Weak scaling: environments, batch, steps per update and replay grow with the number of
workers, so that each has as much to do as a single worker, and a step is replayed equally often.
The ideal is the speed of one worker times the number of workers. All points are measured in turn
over several rounds, and the share of the ideal is the median over the rounds. The collectives are
timed too (`benchmarks.collectives`).
"""

import functools
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from benchmarks import plots, report
from jaxdqn import errors
from jaxdqn.cli import program
from jaxdqn.rundir import layout, metrics
from jaxdqn.settings import presets
from launch import local

_COLUMNS = (
    "scaling",
    "workers",
    "steps_per_second",
    "samples_per_second",
    "share_of_ideal",
    "mean_of_gradients_share",
    "bytes_per_update",
)


class _Point(NamedTuple):
    """A point that is measured in each round."""

    workers: int
    is_weak: bool

    def settings(self) -> dict[str, int]:
        """Its settings; the replay ratio is the preset's."""
        values = flags.FLAGS
        resolved = presets.resolve(values.env, values.preset, {})
        factor = self.workers if self.is_weak else 1
        return {
            "num_envs": values.num_envs * factor,
            "batch_size": resolved.batch_size * factor,
            "steps_per_update": resolved.steps_per_update * factor,
            "replay_capacity": values.replay_capacity * factor,
            "learning_starts_steps": values.total_steps * factor // 4,
            "total_steps": values.total_steps * factor,
            "log_every_steps": values.total_steps * factor // 10,
        }


def _launch(workers: int, *words: str, module: str = "jaxdqn.train") -> None:
    """Runs a program on so many workers; raises an error with the reason if it fails."""
    values = flags.FLAGS
    processes, devices = (workers, 1) if values.over == "processes" else (1, workers)
    own = [f"--module={module}", f"--processes={processes}", f"--devices_per_process={devices}"]
    own.append(f"--cores_per_process={_cores_per_worker() * devices}")
    own += [f"--devices={values.on}"] if values.on else []
    own += ["--", f"--env={values.env}", *words]
    own += [f"--preset={values.preset}"] if values.preset else []
    report.run([sys.executable, "-m", "launch.local", *own])


def _cores_per_worker() -> int:
    values = flags.FLAGS
    if values.cores_per_worker is not None:
        return int(values.cores_per_worker)
    return int(values.on == "cpu" or (values.on is None and not local.gpus()))


def _trained(point: _Point) -> dict[str, Any]:
    """The steps per second of a training run once it learns, and its hardware."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "run")
        words = [f"--{name}={value}" for name, value in point.settings().items()]
        off = ("--eval_episodes=0", "--held_out_observations=0", "--checkpoint_every_steps=0")
        _launch(point.workers, *words, *off, f"--run_dir={path}")
        training = metrics.training(metrics.read(path / metrics.FILE))
        made_with = json.loads((path / layout.CONFIG_FILE).read_text())
    rows = [row for row in training if row["loss"] is not None]
    return {
        "steps_per_second": float(np.median([row["steps_per_second"] for row in rows[1:]])),
        "versions": made_with["versions"],
        "hardware": made_with["hardware"],
    }


def _collectives(workers: int) -> dict[str, Any]:
    """The result of `benchmarks.collectives` for so many workers."""
    with tempfile.TemporaryDirectory() as folder:
        each = f"--envs_per_device={max(1, flags.FLAGS.num_envs // 2)}"  # of a group
        _launch(workers, each, f"--out={folder}", module="benchmarks.collectives")
        (found,) = pathlib.Path(folder).glob("collectives_*.json")
        told: dict[str, Any] = json.loads(found.read_text())
    return told


def _figures(
    point: _Point, rounds: list[dict[str, Any]], ones: list[float], told: dict[str, Any]
) -> dict[str, Any]:
    """The reported figures of a point.

    Args:
      point: the point.
      rounds: steps per second of its runs.
      ones: steps per second of one worker in the same rounds.
      told: the times of collectives.
    """
    settings, workers = point.settings(), point.workers
    rates = [each["steps_per_second"] for each in rounds]
    rate = float(np.median(rates))
    updates = rate / settings["steps_per_update"]
    shares = [one / alone / workers for one, alone in zip(rates, ones, strict=True)]
    return {
        "scaling": "weak" if point.is_weak else "strong",
        "workers": workers,
        "steps_per_second": rate,
        "steps_per_second_rounds": rates,
        "share_of_ideal": float(np.median(shares)),
        "share_of_ideal_rounds": shares,
        "samples_per_second": updates * settings["batch_size"],
        "updates_per_second": updates,
        # A ring passes each worker's gradients around once to add and once to distribute them.
        "bytes_per_update": int(2 * told["gradient_bytes"] * (workers - 1) / workers),
        "mean_of_gradients_us": told["gradient_mean_us"],
        # A single worker averages nothing.
        "mean_of_gradients_share": updates * told["gradient_mean_us"] * 1e-6 * (workers > 1),
        "note_gather_us": told["note_gather_us"],
        "settings": settings,
        "versions": rounds[0]["versions"],
        "hardware": rounds[0]["hardware"],
    }


def _counts() -> list[int]:
    """The numbers of workers that the user named.

    Raises:
      SettingError: they are not such numbers.
    """
    try:
        counts = [int(count) for count in flags.FLAGS.counts]
    except ValueError:
        raise errors.SettingError("counts", "must be numbers separated by commas") from None
    if counts[:1] != [1]:
        raise errors.SettingError("counts", "begin with 1, which the others are compared to")
    if min(counts) < 1 or len(set(counts)) < len(counts):
        raise errors.SettingError("counts", f"is {counts}; must be different numbers from 1 on")
    return counts


def _kept(
    result: report.Result,
    rounds: dict[_Point, list[dict[str, Any]]],
    told: dict[int, dict[str, Any]],
) -> Callable[[], None]:
    """Writes what has been measured so far; returns a function that draws it.

    Args:
      result: to write to.
      rounds: steps per second of the runs of each point; the point of one worker comes first.
      told: the times of collectives, by number of workers.
    """
    ones = [each["steps_per_second"] for each in next(iter(rounds.values()))]
    found = [_figures(point, runs, ones, told[point.workers]) for point, runs in rounds.items()]
    # Both curves start at one worker.
    found.insert(len(told), found[0] | {"scaling": "weak"})
    path = result.keep(
        {"over": flags.FLAGS.over, "points": found},
        report.table(_COLUMNS, [[each[name] for name in _COLUMNS] for each in found]),
        {
            "versions": found[-1]["versions"],
            # A worker only knows its own cores.
            "hardware": found[-1]["hardware"] | {"cores": len(os.sched_getaffinity(0))},
        },
    )
    shares = [each["share_of_ideal"] for each in found]
    curves = {"strong": shares[: len(told)], "weak": shares[len(told) :]}
    return functools.partial(
        plots.lines,
        path.with_suffix(".png"),
        list(told),
        curves,
        xlabel=flags.FLAGS.over,
        ylabel="share of the ideal",
        log_y=False,
    )


def main() -> int:
    """Measures as the flags say and reports."""
    values, counts = flags.FLAGS, _counts()
    points = [_Point(1, False)]
    points += [_Point(count, is_weak) for is_weak in (False, True) for count in counts[1:]]
    for point in points:  # wrong settings are refused here
        presets.resolve(values.env, values.preset, point.settings())
    name, told = f"scaling_{values.env}_{values.over}", dict[int, dict[str, Any]]()
    with report.Result(name, report.out_folder()) as result:
        for count in counts:
            try:
                told[count] = _collectives(count)
            except errors.RunError:  # it has printed why
                if count == 1:
                    raise
                print(f"{values.over} {count:,}: not here", flush=True)
        rounds = {point: list[dict[str, Any]]() for point in points if point.workers in told}
        for number in range(values.rounds):
            for point in rounds:
                rounds[point].append(_trained(point))
                how = "weak" if point.is_weak else "strong"
                rate = rounds[point][-1]["steps_per_second"]
                print(f"round {number}, {how}, {point.workers}: {rate:.0f} steps/s", flush=True)
            draw = _kept(result, rounds, told)
        draw()
    return 0


def _define_flags() -> None:
    flags.DEFINE_enum("over", "processes", ["processes", "devices"], "kind of workers")
    flags.DEFINE_list(
        "counts",
        ["1", "2", "4", "8"],
        "numbers of workers; numbers too large for this machine are left out",
    )
    flags.DEFINE_string("env", "Breakout", "game")
    flags.DEFINE_string("preset", "", "preset (default: the one of the game)")
    flags.DEFINE_integer(
        "cores_per_worker",
        None,
        "CPU cores for each worker; 0: all share all cores (default: 1; with GPUs: 0)",
        0,
    )
    flags.DEFINE_enum(
        "on", None, ["cpu", "gpu"], "platform of the workers (default: gpu if there is one)"
    )
    flags.DEFINE_integer("num_envs", 32, "environments of each worker", lower_bound=2)
    flags.DEFINE_integer(
        "replay_capacity", 100_000, "replay capacity of each worker", lower_bound=1
    )
    flags.DEFINE_integer("total_steps", 8_000, "steps of each worker", lower_bound=1_000)
    report.define_flags(rounds=3, warms_up=False)


if __name__ == "__main__":
    program.run_program(_define_flags, main)
