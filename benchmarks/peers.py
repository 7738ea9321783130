r"""Compares training speed on the CPU with the DQNs of Stable-Baselines3 and SBX.

  python -m benchmarks.peers --env=Breakout

Same game, network, batch, cadence, optimizer, replay and target copies; double Q-learning is off,
for they have none, and SBX clips no gradients. The first call installs them into virtual
environments of their own (3 GB). Each one's best arrangement of environments is searched first;
then all take turns.
"""

import functools
import hashlib
import json
import os
import pathlib
import re
import sys
import tempfile
import venv
from typing import Any, NamedTuple

from absl import flags

from benchmarks import clock, report
from jaxdqn import cli, config, presets
from jaxdqn.envs import games

_COMMON = [
    *("torch==2.13.0", "stable-baselines3==2.9.2", "ale-py==0.12.1", "gymnasium==1.4.0"),
    *("opencv-python-headless==5.0.0.93", "numpy==2.4.6"),
]
_PEERS = {
    "stable_baselines3": _COMMON,
    "sbx": [*_COMMON, "sbx-rl==0.28.0", "jax==0.10.2", "flax==0.12.8", "optax==0.2.8"],
}
_NUM_ENVS = 32  # of jaxdqn
_PARAMETERS = 1_686_180  # of the network, with Breakout's four actions
_REPLAY_CAPACITY, _LEARNING_STARTS_STEPS = 20_000, 2_000
_ON_CPU = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


class _Envs(NamedTuple):
    """An arrangement of a peer's environments."""

    num_envs: int
    processes: int  # 0: all in one process; 1: one for each environment


_ARRANGEMENTS = [
    *(_Envs(n, processes=0) for n in (1, 8, 16, 32)),
    *(_Envs(n, processes=1) for n in (8, 16, 32)),
]


def _install(folder: pathlib.Path, requirements: list[str]) -> pathlib.Path:
    """A virtual environment with these packages, made unless it is there; returns its Python."""
    digest = hashlib.sha256(repr((sys.version_info[:2], requirements)).encode()).hexdigest()[:8]
    folder = folder.with_name(f"{folder.name}-{digest}")
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        print(f"installing {' '.join(requirements)} into {folder}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        report.run([python, "-m", "pip", "install", "--quiet", *requirements])
        ready.touch()
    return python


def _peer(
    python: pathlib.Path, library: str, envs: _Envs, versions: dict[str, Any], seconds: float
) -> float:
    """Steps/s of a peer; notes the versions it ran with."""
    arguments = {
        "library": library,
        "game": flags.FLAGS.env,
        **envs._asdict(),
        "replay_capacity": _REPLAY_CAPACITY,
        "learning_starts_steps": _LEARNING_STARTS_STEPS,
        "seconds": seconds,
    }
    script = pathlib.Path(__file__).with_name("peer_dqn.py")
    words = [f"--{name}={value}" for name, value in arguments.items()]
    shown = report.run([python, script, *words], env={**os.environ, **_ON_CPU})
    figures = json.loads(shown.splitlines()[-1])
    versions[library] = figures["versions"]
    _check(figures)
    return float(figures["steps_per_second"])


def _jaxdqn() -> float:
    """Steps/s of jaxdqn in the same task."""
    log_every_steps = flags.FLAGS.steps // 4
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "env": flags.FLAGS.env,
            "run_dir": folder,
            "num_envs": _NUM_ENVS,
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
        words = [f"--{name}={value}" for name, value in settings.items()]
        shown = report.run(
            [sys.executable, "-m", "jaxdqn.train", *words], env={**os.environ, **_ON_CPU}
        )
        lines = (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["updates"]]
    first, last = rows[0], rows[-1]  # the first one's time has compilation in it
    steps = last["step"] - first["step"]
    samples_per_step = (last["updates"] - first["updates"]) * 32 / steps
    (parameters,) = re.findall(r"([0-9,]+) parameters", shown)
    _check({"samples_per_step": samples_per_step, "parameters": int(parameters.replace(",", ""))})
    return float(steps / (last["time_s"] - first["time_s"]))


def _check(figures: dict[str, Any]) -> None:
    """Refuses a comparison of different tasks."""
    if abs(figures["samples_per_step"] - 8) > 0.2:
        sys.exit(
            f"error: trained on {figures['samples_per_step']:.2f} samples per step, not 8: "
            "--seconds or --steps too small, or another task"
        )
    if flags.FLAGS.env == "Breakout" and figures["parameters"] != _PARAMETERS:
        sys.exit(f"error: a network of {figures['parameters']:,} parameters, not {_PARAMETERS:,}")


def main() -> int:
    """Measures as the flags say and reports."""
    values = flags.FLAGS
    if not games.is_atari(presets.resolve(values.env, "", {}).env):
        raise config.SettingError("env", f"is {values.env}; the peers play Atari games alone")
    cache = pathlib.Path(values.peers_dir).expanduser()
    pythons = {name: _install(cache / name, packages) for name, packages in _PEERS.items()}
    versions: dict[str, Any] = {}
    search: dict[str, dict[_Envs, float]] = {}
    for library, python in pythons.items():
        search[library] = {}
        for envs in _ARRANGEMENTS:
            speed = _peer(python, library, envs, versions, values.seconds / 2)
            search[library][envs] = speed
            print(f"{library}, {_told(envs)}: {speed:.0f} steps/s", flush=True)
    best = {library: max(speeds, key=lambda e: speeds[e]) for library, speeds in search.items()}
    taken = clock.interleaved(
        {"jaxdqn": _jaxdqn}
        | {
            name: functools.partial(
                _peer, pythons[name], name, best[name], versions, values.seconds
            )
            for name in best
        },
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
        "search": {
            library: {_told(envs): speed for envs, speed in speeds.items()}
            for library, speeds in search.items()
        },
        "peer_versions": versions,
    }
    rows = [("jaxdqn", f"{_NUM_ENVS} environments", rates["jaxdqn"].median, "")]
    rows += [
        (name, _told(envs), rates[name].median, f"{ratios[name].median:.2f} times")
        for name, envs in best.items()
    ]
    head = ("library", "best of its arrangements", "steps/s", "jaxdqn is faster")
    report.finish(f"peers_{values.env}", result, report.table(head, rows), values.out)
    return 0


def _told(envs: _Envs) -> str:
    return f"{envs.num_envs} environments" + (" in processes" if envs.processes else "")


def _define_flags() -> None:
    flags.DEFINE_string("env", "Breakout", "Atari game, by its plain name")
    report.define_flags()
    flags.DEFINE_float(
        "seconds", 20.0, "of a peer's training that a figure is taken over", lower_bound=1.0
    )
    flags.DEFINE_integer(
        "steps", 4_000, "of jaxdqn's training that a figure is taken over", lower_bound=400
    )
    flags.DEFINE_string("peers_dir", cli.cache_dir("peers"), "where the peers are installed")


if __name__ == "__main__":
    cli.run_program(_define_flags, main)
