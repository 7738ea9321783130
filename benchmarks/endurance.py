r"""Kills a run again and again, and compares it with an undisturbed run.

  python -m benchmarks.endurance --kills=100 --flips=1000

Both runs play the same game with the same seed. One is killed (SIGKILL) at random moments, also
during saves, and restarted each time. Then random bits are flipped, one at a time, in the
checkpoints and the replay of a kill in the middle of the run; each flip must be detected. Last, the
benchmark measures how much the memory of the undisturbed run grew over its second half. With
`--kills=0 --flips=0` it measures only the memory:

  python -m benchmarks.endurance --kills=0 --flips=0 --env=Breakout --total_steps=800000
"""

import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import flags

from benchmarks import report
from jaxdqn import errors
from jaxdqn.checkpointing import checkpoint_folders
from jaxdqn.cli import program
from jaxdqn.rundir import layout, metrics
from jaxdqn.settings import presets
from jaxdqn.storage import checksums

_LONG = ("steps_at_kills", "memory_bytes_by_time_s")  # only for the file


def _command(path: pathlib.Path) -> list[str]:
    values = flags.FLAGS
    settings = {
        "env": values.env,
        "run_dir": path,
        "total_steps": values.total_steps,
        "checkpoint_every_steps": values.checkpoint_every_steps,
        "eval_every_steps": values.total_steps // 4,
        "log_every_steps": max(1, values.total_steps // 100),
        "seed": values.seed,
        "learning_rate_end": 1e-5,
    }
    told = (f"--{name}={value}" for name, value in settings.items())
    return [sys.executable, "-m", "jaxdqn.train", *told, *values.more]


def _run(path: pathlib.Path) -> float:
    """Trains to the end; returns the seconds it took."""
    start = time.perf_counter()
    report.run(_command(path))
    return time.perf_counter() - start


def _run_and_kill(path: pathlib.Path, kept: pathlib.Path) -> dict[str, Any]:
    """The same, but killed again and again until it ends; returns what happened.

    Args:
      path: of the run.
      kept: receives a copy of what a kill half-way left.
    """
    kills, longest_s = flags.FLAGS.kills, flags.FLAGS.longest_life_s
    steps: list[int] = []
    in_a_save, damaged, left = 0, 0, set[pathlib.Path]()
    chance = random.Random(flags.FLAGS.seed)
    while len(steps) < kills:
        with tempfile.TemporaryFile("w+") as printed:
            process = subprocess.Popen(_command(path), stdout=printed, stderr=subprocess.STDOUT)
            life = chance.uniform(0, longest_s)
            try:
                code = process.wait(life)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            else:
                printed.seek(0)
                if code:
                    told = report.last_words(printed.read())
                    raise errors.RunError(f"a run that was killed does not resume: {told}")
                break
            printed.seek(0)
            damaged += "resuming from the previous checkpoint" in printed.read()
        steps.append(max((row["step"] for row in _rows(path)), default=0))
        unfinished = {folder for folder in _saved(path) if not checksums.is_signed(folder)}
        in_a_save += bool(unfinished - left)
        left = unfinished
        if len(steps) == max(1, kills // 2) and path.exists():
            shutil.copytree(path, kept)
        print(f"kill {len(steps)} of {kills}: {life:.1f} s after the start, step {steps[-1]:,}")
    _run(path)
    return {
        "kills": len(steps),
        "kills_in_a_save": in_a_save,
        "starts_with_damage": damaged,
        "steps_at_kills": steps,
    }


def _saved(path: pathlib.Path) -> list[pathlib.Path]:
    """The folders of checkpoints and of replay blocks, complete or not."""
    found = [
        *(path / layout.CHECKPOINTS).glob("[0-9]*"),
        *(path / layout.REPLAY).glob("[0-9]*"),
    ]
    return sorted(found)


def _rows(path: pathlib.Path) -> list[metrics.Row]:
    return list(metrics.read(path / metrics.FILE))


def _numbers(path: pathlib.Path) -> list[metrics.Row]:
    return metrics.without_varying(_rows(path))


def _learner(path: pathlib.Path) -> list[np.ndarray]:
    """Parameters, target, optimizer, keys and counters at the end, read without this package."""
    folder = path / layout.CHECKPOINTS
    newest = folder.absolute() / str(checkpoint_folders.steps_in(folder)[-1]) / "learner"
    with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(newest).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return jax.tree.leaves(checkpointer.restore(newest, restore_args=as_numpy))


def _whole(path: pathlib.Path) -> list[pathlib.Path]:
    """The folders that were saved completely."""
    return [folder for folder in _saved(path) if checksums.is_signed(folder)]


def _flip(path: pathlib.Path) -> int:
    """Flips bits of checkpoints and replay, one at a time; returns how many were noticed."""
    chance, noticed = random.Random(flags.FLAGS.seed), 0
    folders = _whole(path)
    for _ in range(flags.FLAGS.flips):
        folder = chance.choice(folders)
        paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.stat().st_size]
        victim = chance.choices(paths, [p.stat().st_size for p in paths])[0]
        content = victim.read_bytes()
        flipped = bytearray(content)
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        victim.write_bytes(flipped)
        noticed += bool(checksums.problem(folder))
        victim.write_bytes(content)
    return noticed


def _memory(path: pathlib.Path) -> dict[str, Any]:
    """Memory of the process, in bytes: medians of ten rows, at half time and at the end."""
    used = [row for row in metrics.training(_rows(path)) if row["memory_used_bytes"]]
    half = len(used) // 2

    def median(rows: list[metrics.Row]) -> float:
        return float(np.median([row["memory_used_bytes"] for row in rows]))

    return {
        "memory_bytes_at_half": median(used[half : half + 10]),
        "memory_bytes_at_end": median(used[-10:]),
        "memory_bytes_by_time_s": [[row["time_s"], row["memory_used_bytes"]] for row in used],
    }


def _kept(result: report.Result, figures: dict[str, Any]) -> None:
    """Writes what is known so far."""
    rows = [(name, json.dumps(figures[name])) for name in figures if name not in _LONG]
    result.keep(figures, report.table(("", ""), rows))


def main() -> int:
    """Disturbs a run and compares as the flags say, and reports."""
    values = flags.FLAGS
    presets.resolve(values.env, "", {"total_steps": values.total_steps})
    result = report.Result(f"endurance_{values.env}", report.out_folder())
    with tempfile.TemporaryDirectory() as folder, result:
        whole, killed, left = (pathlib.Path(folder, name) for name in ("whole", "killed", "left"))
        found: dict[str, Any] = {
            "undisturbed_s": _run(whole),
            "checkpoints": len(metrics.checkpoints(_rows(whole))),
            **_memory(whole),
        }
        print(f"undisturbed: {found['undisturbed_s']:.0f} s", flush=True)
        _kept(result, found)
        if values.kills:
            found |= _run_and_kill(killed, left)
            found["same_metrics"] = _numbers(whole) == _numbers(killed)
            ends = zip(_learner(whole), _learner(killed), strict=True)
            found["same_learner"] = all(np.array_equal(*pair) for pair in ends)
            _kept(result, found)
        found["flips"] = values.flips
        # A kill before the first save left nothing to flip.
        found["flips_noticed"] = _flip(left if _whole(left) else whole)
        found["training_command"] = " ".join(_command(pathlib.Path("RUN_DIR"))[1:])
        _kept(result, found)
    if not (found.get("same_metrics", True) and found.get("same_learner", True)):
        raise errors.RunError("the run that was killed ended differently")
    if found.get("kills", 0) < values.kills:
        raise errors.RunError("the run ended before it was killed so often: use more --total_steps")
    grown = found["memory_bytes_at_end"] / found["memory_bytes_at_half"] - 1
    if grown > values.memory_growth:
        raise errors.RunError(f"memory grew by {grown:.1%}, more than {values.memory_growth:.1%}")
    if found["flips_noticed"] != values.flips:
        raise errors.RunError("flipped bits went unnoticed")
    return 0


def _define_flags() -> None:
    count: dict[str, Any] = {"lower_bound": 0}
    flags.DEFINE_string("env", "CartPole", "game")
    flags.DEFINE_integer("total_steps", 600_000, "steps of each run", lower_bound=2000)
    flags.DEFINE_integer("checkpoint_every_steps", 2_000, "steps between checkpoints", **count)
    flags.DEFINE_integer(
        "kills", 100, "how many times the run is killed, unless it ends earlier", **count
    )
    flags.DEFINE_float(
        "longest_life_s", 20.0, "maximum seconds between a start and a kill", 0.1, 1e6
    )
    flags.DEFINE_float(
        "memory_growth",
        0.05,
        "share by which memory may grow over the second half, in which short runs still load "
        "libraries",
        lower_bound=0.0,
    )
    flags.DEFINE_integer("flips", 1_000, "number of bits to flip", **count)
    flags.DEFINE_integer("seed", 0, "seed of the runs, the kills and the flips", **count)
    flags.DEFINE_multi_string("more", [], "another flag of the runs, such as --more=--n_step=3")
    report.define_out()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
