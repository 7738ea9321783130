r"""Compares training speed on the CPU with the DQNs of Stable-Baselines3 and SBX.

  python -m benchmarks.peers --env=Breakout

Same game, network, batch, cadence, optimizer, replay and target copies; double Q-learning is off,
for they have none, and SBX clips no gradients. The first call installs them into virtual
environments of their own (3 GB), unless `--peer_python` names a Python that has them. Each one's
best arrangement of environments is searched first; then all take turns. A peer, or an arrangement,
that cannot be measured is left out, and the table says why.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from typing import Any, NamedTuple

from absl import flags

from benchmarks import clock, report
from jaxdqn import errors
from jaxdqn.cli import devices, paths, program
from jaxdqn.envs import api, registry
from jaxdqn.rundir import metrics
from jaxdqn.settings import presets

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
_BATCH_SIZE, _SAMPLES_PER_STEP = 32, 8
_LONGER = (1, 2, 4)  # windows that are tried, in multiples of the one asked for
_REPLAY_CAPACITY, _LEARNING_STARTS_STEPS = 20_000, 2_000
_ON_CPU = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


class _Envs(NamedTuple):
    """An arrangement of a peer's environments."""

    num_envs: int
    processes: int  # 0: all in one process; 1: one for each environment

    def __str__(self) -> str:
        return f"{self.num_envs} environments" + (" in processes" if self.processes else "")


_ARRANGEMENTS = [
    *(_Envs(n, processes=0) for n in (1, 8, 16, 32)),
    *(_Envs(n, processes=1) for n in (8, 16, 32)),
]


@dataclasses.dataclass
class _Comparison:
    """What is known so far."""

    search: dict[str, dict[_Envs, float]]  # steps/s of a peer's arrangements
    rounds: dict[str, list[float]]  # steps/s of jaxdqn and of peers, in each round
    versions: dict[str, Any]  # of a peer's packages
    left_out: dict[str, str]  # why, by what is left out

    def leave_out(self, what: str, error: errors.RunError) -> None:
        """Notes and prints why something is not measured."""
        self.left_out[what] = str(error)
        print(f"{what}: left out: {error}", flush=True)

    def best(self) -> dict[str, _Envs]:
        """The fastest arrangement of each peer that has one."""
        return {
            library: max(speeds, key=lambda envs: speeds[envs])
            for library, speeds in self.search.items()
            if speeds
        }

    def _rates(self) -> dict[str, clock.Rate]:
        return {name: clock.Rate.of(speeds) for name, speeds in self.rounds.items() if speeds}

    def _ratios(self) -> dict[str, clock.Rate]:
        """How many times as fast as each peer jaxdqn was in the same rounds."""
        # A peer that failed in a round has no later ones.
        pairs = {
            name: zip(self.rounds["jaxdqn"], speeds, strict=False)
            for name, speeds in self.rounds.items()
            if speeds and name != "jaxdqn"
        }
        return {name: clock.Rate.of([o / p for o, p in pair]) for name, pair in pairs.items()}

    def figures(self) -> dict[str, Any]:
        """For the file."""
        return {
            "rates": {name: rate._asdict() for name, rate in self._rates().items()},
            "ratios": {name: ratio._asdict() for name, ratio in self._ratios().items()},
            "search": {
                library: {str(envs): speed for envs, speed in speeds.items()}
                for library, speeds in self.search.items()
            },
            "left_out": self.left_out,
            "peer_versions": self.versions,
        }

    def table(self) -> str:
        """For people."""
        rates, ratios, best = self._rates(), self._ratios(), self.best()
        rows = [("jaxdqn", f"{_NUM_ENVS} environments", _median(rates.get("jaxdqn")), "")]
        for name in dict.fromkeys(flags.FLAGS.peers):
            ratio = f"{ratios[name].median:.2f} times" if name in ratios else ""
            rows.append((name, str(best.get(name, "-")), _median(rates.get(name)), ratio))
        head = ("library", "best of its arrangements", "steps/s", "jaxdqn is faster")
        notes = [f"- {what}: {reason}" for what, reason in self.left_out.items()]
        return "\n".join([report.table(head, rows), *(["", "Left out:", *notes] if notes else [])])


def _median(rate: clock.Rate | None) -> float | str:
    return rate.median if rate else "-"


def _install(folder: pathlib.Path, requirements: list[str]) -> pathlib.Path:
    """A virtual environment with these packages, made unless it is there; returns its Python.

    Raises:
      RunError: it cannot be made.
    """
    digest = hashlib.sha256(repr((sys.version_info[:2], requirements)).encode()).hexdigest()[:8]
    folder = folder.with_name(f"{folder.name}-{digest}")
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        print(f"installing {' '.join(requirements)} into {folder}", flush=True)
        try:
            venv.create(folder, clear=True, with_pip=True)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            report.run([*pip, *requirements], shows_errors=False)
            ready.touch()
        except (OSError, subprocess.CalledProcessError) as error:
            raise errors.RunError(f"cannot be installed: {error}") from None
    return python


def _pythons(found: _Comparison) -> dict[str, pathlib.Path]:
    """A Python for each peer that can be installed.

    Raises:
      SettingError: a flag names no such Python, or no folder for them.
    """
    values, given = flags.FLAGS, dict[str, pathlib.Path]()
    for text in values.peer_python:
        name, _, path = text.partition("=")
        python = shutil.which(paths.usable("peer_python", path))
        if name not in _PEERS or not python:
            raise errors.SettingError(
                "peer_python", f"is {text!r}; a peer and its Python, such as sbx=venv/bin/python"
            )
        given[name] = pathlib.Path(python)
    cache = paths.usable("peers_dir", values.peers_dir)
    if not given.keys() >= set(values.peers) and (problem := report.why_not_written(cache)):
        raise errors.SettingError("peers_dir", problem)
    pythons = {}
    for name in dict.fromkeys(values.peers):
        try:
            pythons[name] = given.get(name) or _install(cache / name, _PEERS[name])
        except errors.RunError as error:
            found.leave_out(name, error)
    return pythons


def _rate(measure: Callable[[int], dict[str, Any]]) -> float:
    """Steps/s, over a longer window where updates and steps do not add up in a short one.

    Args:
      measure: trains for so many times the window that was asked for; returns what `peer_dqn.py`
        prints.

    Raises:
      RunError: it fails, or trains in another way.
    """
    for longer in _LONGER:
        figures = measure(longer)
        if flags.FLAGS.env == "Breakout" and figures["parameters"] != _PARAMETERS:
            raise errors.RunError(
                f"a network of {figures['parameters']:,} parameters, not {_PARAMETERS:,}"
            )
        samples_per_step = figures["samples_per_step"]
        if abs(samples_per_step - _SAMPLES_PER_STEP) <= 0.2:
            return float(figures["steps_per_second"])
    raise errors.RunError(
        f"trained on {samples_per_step:.2f} samples per step, not {_SAMPLES_PER_STEP}, even over "
        f"{longer} times the time"
    )


def _train_peer(
    python: pathlib.Path, library: str, envs: _Envs, versions: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Trains a peer; returns what it prints, and notes the versions it ran with."""
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
    environment = {**os.environ, **_ON_CPU}
    shown = report.run([python, script, *words], shows_errors=False, env=environment)
    figures: dict[str, Any] = json.loads(shown.splitlines()[-1])
    versions[library] = figures["versions"]
    return figures


def _train(steps: int) -> dict[str, Any]:
    """Trains jaxdqn in the same way; returns the same."""
    log_every_steps = steps // 4
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
            "total_steps": _LEARNING_STARTS_STEPS + steps + log_every_steps,
            "log_every_steps": log_every_steps,
            "eval_episodes": 0,
            "checkpoint_every_steps": 0,
        }
        words = [f"--{name}={value}" for name, value in settings.items()]
        shown = report.run(
            [sys.executable, "-m", "jaxdqn.train", *words], env={**os.environ, **_ON_CPU}
        )
        training = metrics.training(metrics.read(pathlib.Path(folder, metrics.FILE)))
    rows = [row for row in training if row["updates"]]
    first, last = rows[0], rows[-1]  # the first one's time has compilation in it
    steps = last["step"] - first["step"]
    (parameters,) = re.findall(r"([0-9,]+) parameters", shown)
    return {
        "steps_per_second": steps / (last["time_s"] - first["time_s"]),
        "samples_per_step": (last["updates"] - first["updates"]) * _BATCH_SIZE / steps,
        "parameters": int(parameters.replace(",", "")),
    }


def _search(
    found: _Comparison, pythons: dict[str, pathlib.Path], keep: Callable[[], object]
) -> None:
    """Measures every arrangement of every peer once."""
    for library, python in pythons.items():
        found.search[library] = {}
        for envs in _ARRANGEMENTS:
            measure = _peer(found, python, library, envs, flags.FLAGS.seconds / 2)
            try:
                speed = _rate(measure)
            except errors.RunError as error:
                found.leave_out(f"{library}, {envs}", error)
                continue
            found.search[library][envs] = speed
            keep()
            print(f"{library}, {envs}: {speed:.0f} steps/s", flush=True)


def _take_turns(
    found: _Comparison, pythons: dict[str, pathlib.Path], keep: Callable[[], object]
) -> None:
    """Measures jaxdqn and the best arrangement of each peer, round after round.

    A first round, in which caches fill, does not count.

    Raises:
      RunError: jaxdqn cannot be measured, or no peer.
    """
    values = flags.FLAGS
    measures = {
        library: _peer(found, pythons[library], library, envs, values.seconds)
        for library, envs in found.best().items()
    }
    found.rounds = {name: [] for name in ("jaxdqn", *measures)}
    for number in range(values.rounds + 1):
        if not measures:
            raise _nothing_left(found)
        taken = {"jaxdqn": _rate(lambda longer: _train(longer * values.steps))}
        for library, measure in list(measures.items()):
            try:
                taken[library] = _rate(measure)
            except errors.RunError as error:
                found.leave_out(f"{library}, after {max(0, number - 1)} rounds", error)
                del measures[library]
        if number:
            for name, speed in taken.items():
                found.rounds[name].append(speed)
            keep()
    if not measures:
        raise _nothing_left(found)


def _peer(
    found: _Comparison, python: pathlib.Path, library: str, envs: _Envs, seconds: float
) -> Callable[[int], dict[str, Any]]:
    """What trains a peer for so many times these seconds."""
    return lambda longer: _train_peer(python, library, envs, found.versions, longer * seconds)


def _nothing_left(found: _Comparison) -> errors.RunError:
    reasons = {what.partition(",")[0]: reason for what, reason in found.left_out.items()}
    told = "; ".join(f"{library}: {reason}" for library, reason in reasons.items())
    return errors.RunError(f"no peer is left: {told}")


def main() -> int:
    """Measures as the flags say and reports."""
    values = flags.FLAGS
    if registry.game(presets.resolve(values.env, "", {}).env).family != api.ATARI:
        raise errors.SettingError("env", f"is {values.env}; the peers play Atari games alone")
    found, folder = _Comparison({}, {}, {}, {}), report.out_folder()
    pythons = _pythons(found)
    with report.Result(f"peers_{values.env}", folder) as result:

        def keep() -> None:
            result.keep(found.figures(), found.table())

        _search(found, pythons, keep)
        _take_turns(found, pythons, keep)
        keep()
    return 0


def _define_flags() -> None:
    flags.DEFINE_string("env", "Breakout", "Atari game, by its plain name")
    report.define_flags()
    report.define_seconds(20.0, "of a peer's training that a figure is taken over", at_least=1.0)
    flags.DEFINE_integer(
        "steps", 4_000, "of jaxdqn's training that a figure is taken over", lower_bound=400
    )
    names = list(_PEERS)
    flags.DEFINE_multi_enum("peers", names, names, "what is compared with; repeatable")
    flags.DEFINE_multi_string(
        "peer_python",
        [],
        "a peer and a Python that has it, such as sbx=venv/bin/python; repeatable (default: each "
        "is installed in --peers_dir)",
    )
    flags.DEFINE_string("peers_dir", devices.cache_dir("peers"), "where the peers are installed")


if __name__ == "__main__":
    program.run_program(_define_flags, main)
