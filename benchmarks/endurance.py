r"""Kills one run again and again, and compares it with one that nobody disturbed.

  python -m benchmarks.endurance --kills=100 --flips=1000

Both runs play the same game from the same seed. One is killed (SIGKILL) at random moments, that of
a save among them, and started anew each time. In the checkpoints that the other leaves, random bits
are flipped, one at a time. Last, the other's memory: by how much it grew over its second half.
"""

import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import numpy as np
from absl import flags

from benchmarks import report
from jaxdqn import cli, config, presets
from jaxdqn.runtime import checksums, metrics, run_dir, saved_run

# What no two runs share: time and memory.
_NOT_COMPARED = (
    *("time_s", "steps_per_second", "memory_used_bytes"),
    *("checkpoint_stall_s", "checkpoint_write_s", "checkpoint_bytes"),
)


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
    """Trains to the end; returns the seconds that took."""
    start = time.perf_counter()
    subprocess.run(_command(path), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _run_and_kill(path: pathlib.Path, kills: int, longest_s: float) -> dict[str, Any]:
    """The same, killed `kills` times, unless it ends before; tells what happened."""
    lives: list[float] = []
    steps: list[int] = []
    damaged = 0
    chance = random.Random(flags.FLAGS.seed)
    while len(lives) < kills:
        with tempfile.TemporaryFile("w+") as printed:
            process = subprocess.Popen(_command(path), stdout=printed, stderr=subprocess.STDOUT)
            lives.append(chance.uniform(0, longest_s))
            try:
                code = process.wait(lives[-1])
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            else:
                printed.seek(0)
                if code:
                    sys.exit(f"error: a run that was killed does not go on: {printed.read()}")
                lives.pop()
                break
            printed.seek(0)
            damaged += "going on from the checkpoint before" in printed.read()
        last = max((row["step"] for row in metrics.read(path / metrics.FILE)), default=0)
        steps.append(last)
        print(f"kill {len(lives)} of {kills}: {lives[-1]:.1f} s after the start, step {last:,}")
    _run(path)
    return {"kills": len(lives), "steps_at_kills": steps, "starts_with_damage": damaged}


def _numbers(path: pathlib.Path) -> list[metrics.Row]:
    rows = [
        {name: x for name, x in row.items() if name not in _NOT_COMPARED}
        for row in metrics.read(path / metrics.FILE)
    ]
    return [row for row in rows if len(row) > 1]


def _parameters(path: pathlib.Path) -> list[Any]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(saved_run.load(path, "latest").params)]


def _flip(path: pathlib.Path, flips: int) -> int:
    """Flips bits of a run's checkpoints, one at a time; returns how many were noticed."""
    chance, noticed = random.Random(flags.FLAGS.seed), 0
    folders = [
        folder for folder in (path / run_dir.CHECKPOINTS).iterdir() if checksums.is_signed(folder)
    ]
    for _ in range(flips):
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


def _growth(path: pathlib.Path) -> float:
    """Memory at the end less that at half time, in bytes: medians of ten rows."""
    used = [
        row["memory_used_bytes"]
        for row in metrics.read(path / metrics.FILE)
        if "memory_used_bytes" in row
    ]
    half = len(used) // 2
    return float(np.median(used[-10:]) - np.median(used[half : half + 10]))


def main() -> int:
    """Disturbs and compares as the flags say, and reports."""
    values = flags.FLAGS
    presets.resolve(values.env, "", {"total_steps": values.total_steps})
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = pathlib.Path(folder, "whole"), pathlib.Path(folder, "killed")
        whole_s = _run(whole)
        print(f"undisturbed: {whole_s:.0f} s")
        result: dict[str, Any] = {
            "undisturbed_s": whole_s,
            **_run_and_kill(killed, values.kills, values.longest_life_s),
            "same_metrics": _numbers(whole) == _numbers(killed),
            "same_parameters": all(map(np.array_equal, _parameters(whole), _parameters(killed))),
            "flips": values.flips,
            "flips_noticed": _flip(whole, values.flips),
            "memory_growth_bytes": _growth(whole),
            "command": " ".join(_command(pathlib.Path("RUN_DIR"))[1:]),
        }
    rows = [(name, json.dumps(result[name])) for name in result if name != "steps_at_kills"]
    report.finish(f"endurance_{values.env}", result, report.table(("", ""), rows), values.out)
    if not (result["same_metrics"] and result["same_parameters"]):
        raise config.RunError("the run that was killed ended otherwise")
    if result["flips_noticed"] != values.flips:
        raise config.RunError("flipped bits went unnoticed")
    return 0


def _define_flags() -> None:
    flags.DEFINE_string("env", "CartPole", "game")
    flags.DEFINE_integer("total_steps", 400_000, "steps of the run", lower_bound=100)
    flags.DEFINE_integer("checkpoint_every_steps", 2_000, "steps between its checkpoints")
    flags.DEFINE_integer("kills", 100, "times that it is killed, unless it ends before")
    flags.DEFINE_float("longest_life_s", 20.0, "seconds between a start and a kill, at most")
    flags.DEFINE_integer("flips", 1_000, "bits that are flipped")
    flags.DEFINE_integer("seed", 0, "of the run and of what disturbs it")
    flags.DEFINE_multi_string("more", [], "another flag of the run, such as --more=--n_step=3")
    report.define_flags()


if __name__ == "__main__":
    cli.run_program(_define_flags, main)
