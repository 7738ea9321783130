r"""Compares training speed with the DQNs of Stable-Baselines3 and SBX.

  python -m benchmarks.peers --env=Breakout

Same game, network, batch, cadence, optimizer, replay and target copies; double Q-learning is off,
for they have none. The first call installs them into virtual environments of their own (3 GB).
Each library's best number of environments is searched first; then all take turns.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import venv
from typing import Any

from absl import flags

from benchmarks import clock, report
from jaxdqn import cli

_COMMON = ["torch==2.13.0", "stable-baselines3==2.9.2", "ale-py==0.12.1", "opencv-python-headless"]
_PEERS = {
    "stable_baselines3": _COMMON,
    "sbx": [*_COMMON, "sbx-rl==0.28.0", "jax==0.10.2", "flax==0.12.8", "optax==0.2.8"],
}
_NUM_ENVS = (1, 8, 16, 32)
_REPLAY_CAPACITY, _LEARNING_STARTS_STEPS = 20_000, 2_000


def _install(folder: pathlib.Path, requirements: list[str]) -> pathlib.Path:
    """A virtual environment with these packages, made unless it is there; returns its Python."""
    digest = hashlib.sha256(repr((sys.version_info[:2], requirements)).encode()).hexdigest()[:8]
    folder = folder.with_name(f"{folder.name}-{digest}")
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        print(f"installing {' '.join(requirements)} into {folder}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        ready.touch()
    return python


def _peer(python: pathlib.Path, library: str, num_envs: int) -> float:
    """Steps/s of a peer."""
    script = pathlib.Path(__file__).with_name("peer_dqn.py")
    arguments = {
        "library": library,
        "game": flags.FLAGS.env,
        "num_envs": num_envs,
        "replay_capacity": _REPLAY_CAPACITY,
        "learning_starts_steps": _LEARNING_STARTS_STEPS,
        "seconds": flags.FLAGS.seconds,
    }
    done = subprocess.run(
        [python, script, *(f"--{name}={value}" for name, value in arguments.items())],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return _checked(json.loads(done.stdout.splitlines()[-1]))


def _jaxdqn() -> float:
    """Steps/s of jaxdqn in the same task."""
    log_every_steps = flags.FLAGS.steps // 4
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "env": flags.FLAGS.env,
            "run_dir": folder,
            "double_q": False,
            "target_tau": 1.0,
            "target_period_updates": 250,
            "epsilon_start": 0.05,
            "epsilon_end": 0.05,
            "replay_capacity": _REPLAY_CAPACITY,
            "learning_starts_steps": _LEARNING_STARTS_STEPS,
            "total_steps": _LEARNING_STARTS_STEPS + flags.FLAGS.steps + log_every_steps,
            "log_every_steps": log_every_steps,
            "eval_episodes": 0,
            "checkpoint_every_steps": 0,
        }
        subprocess.run(
            [sys.executable, "-m", "jaxdqn.train", *(f"--{k}={v}" for k, v in settings.items())],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        lines = (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["updates"]]
    first, last = rows[0], rows[-1]  # the first one's time has compilation in it
    steps = last["step"] - first["step"]
    return _checked(
        {
            "steps_per_second": steps / (last["time_s"] - first["time_s"]),
            "samples_per_step": (last["updates"] - first["updates"]) * 32 / steps,
        }
    )


def _checked(figures: dict[str, float]) -> float:
    """Steps/s, at 8 samples a step or not at all."""
    if abs(figures["samples_per_step"] - 8) > 0.2:
        raise ValueError(f"trained on {figures['samples_per_step']:.2f} samples per step, not 8")
    return figures["steps_per_second"]


def main() -> int:
    """Measures as the flags say and reports."""
    values = flags.FLAGS
    cache = pathlib.Path(values.peers_dir).expanduser()
    pythons = {name: _install(cache / name, packages) for name, packages in _PEERS.items()}
    search: dict[str, dict[int, float]] = {}
    for library, python in pythons.items():
        search[library] = {n: _peer(python, library, n) for n in _NUM_ENVS}
        print(f"{library}: steps/s by environments {search[library]}", flush=True)
    best = {library: max(speeds, key=lambda n: speeds[n]) for library, speeds in search.items()}
    taken = clock.interleaved(
        {"jaxdqn": _jaxdqn}
        | {name: lambda name=name: _peer(pythons[name], name, best[name]) for name in best},
        values.rounds,
    )
    rates = {name: clock.Rate.of(speeds) for name, speeds in taken.items()}
    ratios = {
        name: clock.Rate.of([o / p for o, p in zip(taken["jaxdqn"], taken[name], strict=True)])
        for name in best
    }
    result: dict[str, Any] = {
        "rates": {name: rate._asdict() for name, rate in rates.items()},
        "ratios": {name: ratio._asdict() for name, ratio in ratios.items()},
        "best_num_envs": best,
        "search": search,
    }
    rows = [
        (name, best.get(name, 32), rate.median, ratios[name].median if name in ratios else 1.0)
        for name, rate in rates.items()
    ]
    head = ("library", "environments", "steps/s", "jaxdqn is faster by")
    report.finish(f"peers_{values.env}", result, report.table(head, rows), values.out)
    return 0


def _define_flags() -> None:
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    flags.DEFINE_string("env", "Breakout", "Atari game, by its plain name")
    flags.DEFINE_integer("rounds", 5, "rounds that count, after one that does not", lower_bound=1)
    flags.DEFINE_float("seconds", 20.0, "of a peer's training that a figure is taken over")
    flags.DEFINE_integer("steps", 4_000, "of jaxdqn's training that a figure is taken over")
    flags.DEFINE_string("peers_dir", f"{cache}/jaxdqn/peers", "where the peers are installed")
    flags.DEFINE_string("out", None, "folder of the result (default: benchmarks/results)")


if __name__ == "__main__":
    cli.run_program(_define_flags, main)
