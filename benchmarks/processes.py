r"""Measures how a run scales over processes, each with cores (or a GPU) of its own.

  python -m benchmarks.processes --env=Breakout --processes=1,2 --cores_per_process=1

Strong scaling: one run, shared by more processes. Weak scaling: environments, batch, steps per
update and replay grow with the processes, so that each has as much to do as one alone, and a step
is replayed as often. The ideal is as many times the speed of one as there are processes. For each
number of processes it takes the time of the collectives too (`benchmarks.collectives`).
"""

import json
import pathlib
import sys
import tempfile
from typing import Any

import numpy as np
from absl import flags

from benchmarks import report
from jaxdqn import cli, config, presets
from jaxdqn.runtime import metrics, run_dir

_COLUMNS = (
    "scaling",
    "processes",
    "steps_per_second",
    "samples_per_second",
    "share_of_ideal",
    "mean_of_gradients_share",
    "bytes_per_update",
)


def _launch(processes: int, *words: str, module: str = "jaxdqn.train") -> None:
    own = [f"--processes={processes}", f"--cores_per_process={flags.FLAGS.cores_per_process}"]
    own += [f"--module={module}", *([f"--devices={flags.FLAGS.on}"] if flags.FLAGS.on else [])]
    preset = [f"--preset={flags.FLAGS.preset}"] if flags.FLAGS.preset else []
    words = (f"--env={flags.FLAGS.env}", *preset, *words)
    report.run([sys.executable, "-m", "launch.local", *own, "--", *words])


def _settings(processes: int, is_weak: bool) -> dict[str, int]:
    """What a point sets; its replay ratio is the preset's."""
    values = flags.FLAGS
    resolved = presets.resolve(values.env, values.preset, {})
    factor = processes if is_weak else 1
    return {
        "num_envs": values.num_envs * factor,
        "batch_size": resolved.batch_size * factor,
        "steps_per_update": resolved.steps_per_update * factor,
        "replay_capacity": values.replay_capacity * factor,
        "learning_starts_steps": 2_000 * factor,
        "total_steps": values.total_steps * factor,
        "log_every_steps": values.total_steps * factor // 10,
    }


def _point(processes: int, is_weak: bool) -> dict[str, Any]:
    """Speed of training once it learns, in rounds, and of the collectives."""
    settings, rates = _settings(processes, is_weak), []
    with tempfile.TemporaryDirectory() as folder:
        words = [f"--{name}={value}" for name, value in settings.items()]
        for number in range(flags.FLAGS.rounds):
            path = pathlib.Path(folder, str(number))
            off = ("--eval_episodes=0", "--checkpoint_every_steps=0", f"--run_dir={path}")
            _launch(processes, *words, *off)
            rows = [row for row in metrics.read(path / metrics.FILE) if row.get("loss") is not None]
            rates.append(float(np.median([row["steps_per_second"] for row in rows[1:]])))
            made_with = json.loads((path / run_dir.CONFIG_FILE).read_text())
        envs = f"--envs_per_device={max(1, settings['num_envs'] // 2 // processes)}"
        _launch(processes, envs, f"--out={folder}", module="benchmarks.collectives")
        (found,) = pathlib.Path(folder).glob("collectives_*.json")
        told = json.loads(found.read_text())
    rate = float(np.median(rates))
    updates = rate / settings["steps_per_update"]
    return {
        "scaling": "weak" if is_weak else "strong",
        "processes": processes,
        "steps_per_second": rate,
        "steps_per_second_rounds": rates,
        "samples_per_second": updates * settings["batch_size"],
        "updates_per_second": updates,
        # A ring sends each process's gradients around once to add and once to tell.
        "bytes_per_update": int(2 * told["gradient_bytes"] * (processes - 1) / processes),
        "mean_of_gradients_us": told["gradient_mean_us"],
        # One alone averages nothing.
        "mean_of_gradients_share": updates * told["gradient_mean_us"] * 1e-6 * (processes > 1),
        "note_gather_us": told["note_gather_us"],
        "settings": settings,
        "versions": made_with["versions"],
        "hardware": made_with["hardware"],
    }


def main() -> int:
    """Measures as the flags say and reports."""
    values, points = flags.FLAGS, list[dict[str, Any]]()
    try:
        counts = [int(count) for count in values.processes]
    except ValueError:
        raise config.SettingError("processes", "numbers with commas between them") from None
    for is_weak in (False, True):
        for count in counts:
            if is_weak and count == counts[0]:  # it is the same run
                point = points[0] | {"scaling": "weak"}
            else:
                point = _point(count, is_weak)
            points.append(point)
            ideal = points[0]["steps_per_second"] * count / counts[0]
            point["share_of_ideal"] = point["steps_per_second"] / ideal
            print(
                f"{point['scaling']}, {count}: {point['steps_per_second']:.0f} steps/s", flush=True
            )
    report.finish(
        f"processes_{values.env}",
        {"points": points},
        report.table(_COLUMNS, [[point[name] for name in _COLUMNS] for point in points]),
        values.out,
        {name: points[-1][name] for name in ("versions", "hardware")},
    )
    return 0


def _define_flags() -> None:
    flags.DEFINE_string("env", "Breakout", "game")
    flags.DEFINE_string("preset", "", "settings (default: that of the game)")
    flags.DEFINE_list("processes", ["1", "2"], "how many; the first is what others are compared to")
    flags.DEFINE_integer("cores_per_process", 1, "that each has for itself", lower_bound=0)
    flags.DEFINE_enum("on", None, ["cpu", "gpu"], "what they run on (default: gpu where there are)")
    flags.DEFINE_integer("num_envs", 32, "environments of one process", lower_bound=2)
    flags.DEFINE_integer("replay_capacity", 100_000, "steps, of one process", lower_bound=1)
    flags.DEFINE_integer("total_steps", 8_000, "of one process", lower_bound=4_000)
    report.define_flags(rounds=3)


if __name__ == "__main__":
    cli.run_program(_define_flags, main)
