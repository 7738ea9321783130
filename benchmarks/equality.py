r"""Compares two checkouts of this project bit for bit, for changes that must not change results.

  python -m benchmarks.equality --other=../jaxdqn-before

Both train the same short runs. All metrics, except for times, and the exported networks must be
equal. This checkout also resumes runs that the other began. They must be equal too, which shows
that run directories are compatible.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from benchmarks import report
from jaxdqn.cli import program
from jaxdqn.rundir import metrics

_CLASSIC = (
    "--preset=classic",
    *("--num_envs=8", "--total_steps=6000", "--learning_starts_steps=500", "--log_every_steps=250"),
    *("--replay_capacity=2000", "--eval_every_steps=2000", "--eval_episodes=2"),
    *("--checkpoint_every_steps=1000", "--env_lifetime_steps=188"),
)
_BREAKOUT = (
    *("--env=Breakout", "--num_envs=8", "--total_steps=3000", "--log_every_steps=500"),
    *("--replay_capacity=1600", "--eval_every_steps=2000", "--eval_episodes=2"),
    *("--checkpoint_every_steps=1000", "--max_episode_steps=300"),
)
# The flags of each run, by its name.
RUNS: Mapping[str, Sequence[str]] = {
    "cartpole": ("--env=CartPole", *_CLASSIC),
    "cartpole_rmsprop_mse": (
        *("--env=CartPole", *_CLASSIC, "--optimizer=rmsprop", "--loss=mse", "--dueling"),
        *("--n_step=3", "--nodouble_q", "--terminal_repeats=2", "--explore_max_steps=20"),
        *("--target_period_updates=0", "--target_period_episodes=3", "--clip_per_tensor"),
    ),
    "cartpole_rainbow": (
        *("--env=CartPole", *_CLASSIC, "--head=c51", "--sampler=prioritized", "--noisy"),
        *("--dueling", "--hidden_sizes=64"),
    ),
    "cartpole_m_iqn": (
        *("--env=CartPole", *_CLASSIC, "--algorithm=munchausen", "--head=iqn"),
        *("--num_quantiles=8", "--layer_norm=channels", "--hidden_sizes=64"),
    ),
    "cartpole_pqn": (
        *("--env=CartPole", "--preset=classic_pqn", "--total_steps=6000", "--num_envs=8"),
        *("--log_every_steps=250", "--eval_every_steps=2000", "--eval_episodes=2"),
        *("--checkpoint_every_steps=1000", "--env_lifetime_steps=188"),
    ),
    "catch": ("--env=Catch-v0", *_CLASSIC),
    "breakout": ("--preset=atari", *_BREAKOUT, "--learning_starts_steps=1000"),
    "breakout_bfloat16": (
        *("--preset=atari", *_BREAKOUT, "--learning_starts_steps=1000"),
        "--compute_dtype=bfloat16",
    ),
    "hvass_breakout": (
        *("--preset=hvass_breakout", *_BREAKOUT, "--hidden_sizes=64", "--batch_size=32"),
        "--sweep_fraction_start=0.5",
    ),
}


def _train(path: pathlib.Path, settings: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "jaxdqn.train", f"--run_dir={path}", *settings]


def _environment(checkout: pathlib.Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(checkout), "JAX_PLATFORMS": "cpu"}


def _run(checkout: pathlib.Path, command: Sequence[str]) -> None:
    report.run(command, cwd=checkout, env=_environment(checkout))


def _stop_early(checkout: pathlib.Path, command: Sequence[str], at: str) -> None:
    """Starts a run, and stops it when it prints a line that begins with `at`."""
    process = subprocess.Popen(
        command, cwd=checkout, env=_environment(checkout), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(at):
            process.send_signal(signal.SIGTERM)
    if process.wait() != 128 + signal.SIGTERM:
        raise RuntimeError(f"{command} ended with {process.returncode}")


def _outcome(checkout: pathlib.Path, path: pathlib.Path) -> tuple[list[dict[str, Any]], bytes]:
    """Rows of metrics without what differs from run to run, and the final network."""
    rows = metrics.without_varying(metrics.read(path / metrics.FILE))
    export = path / "export"
    command = [sys.executable, "-m", "jaxdqn.export", f"--run_dir={path}", f"--out={export}"]
    _run(checkout, [*command, "--format=safetensors", "--checkpoint=latest"])
    (exported,) = export.glob("*.safetensors")
    return rows, exported.read_bytes()


def _difference(one: tuple[Any, Any], two: tuple[Any, Any]) -> str:
    """What differs between two outcomes; '' if nothing does."""
    names = ("metrics", "network")
    return ", ".join(name for name, a, b in zip(names, one, two, strict=True) if a != b)


def main() -> int:
    """Trains and compares; exit code 1 if something differs."""
    here = pathlib.Path(__file__).parents[1]
    other = pathlib.Path(flags.FLAGS.other).resolve()
    differs = False

    def tell(name: str, one: tuple[Any, Any], two: tuple[Any, Any]) -> None:
        nonlocal differs
        difference = _difference(one, two)
        differs |= bool(difference)
        shown = f"differs: {difference}" if difference else f"equal ({len(one[0])} rows)"
        print(f"{name}: {shown}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        for name in flags.FLAGS.runs:
            settings = RUNS[name]
            one, two, across = (
                pathlib.Path(folder, f"{name}_{which}") for which in ("other", "this", "across")
            )
            _run(other, _train(one, settings))
            expected = _outcome(other, one)
            _run(here, _train(two, settings))
            tell(name, expected, _outcome(here, two))
            half = "step 3,0" if "--total_steps=6000" in settings else "step 1,5"
            _stop_early(other, _train(across, settings), half)
            _run(here, _train(across, settings))
            tell(f"{name}, begun by the other", expected, _outcome(here, across))
        outcomes: list[tuple[list[dict[str, Any]], bytes]] = []
        for checkout in (other, here):
            path = pathlib.Path(folder, f"two_processes_{len(outcomes)}")
            local = [sys.executable, "-m", "launch.local", "--processes=2", "--"]
            _run(checkout, [*local, f"--run_dir={path}", *RUNS["cartpole"]])
            outcomes.append(_outcome(checkout, path))
        tell("cartpole, two processes", *outcomes)
    return int(differs)


def _define_flags() -> None:
    flags.DEFINE_string("other", None, "the other checkout", required=True)
    flags.DEFINE_multi_enum("runs", list(RUNS), list(RUNS), "runs to compare (default: all)")


if __name__ == "__main__":
    program.run_program(_define_flags, main)
