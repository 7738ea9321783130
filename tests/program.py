"""Runs the real programs in processes of their own."""

import json
import os
import pathlib
import subprocess
import sys

# Small enough for a test, large enough to learn, evaluate, log and save several times.
SMALL = (
    "--num_envs=8",
    "--learning_starts_steps=400",
    "--replay_capacity=1600",
    "--total_steps=1600",
    "--log_every_steps=200",
    "--eval_every_steps=800",
    "--eval_episodes=2",
    "--checkpoint_every_steps=800",
    "--max_episode_steps=1000",
)


def environment(num_devices=1):
    """The environment of this process, less what the tests set for themselves."""
    flag = f"--xla_force_host_platform_device_count={num_devices}"
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flag}


def command(*flags, name="train"):
    return [sys.executable, "-m", f"jaxdqn.{name}", *flags]


def train(*flags, cwd=None, num_devices=1):
    return run("train", *flags, cwd=cwd, num_devices=num_devices)


def run(name, *flags, cwd=None, num_devices=1):
    return subprocess.run(
        command(*flags, name=name),
        cwd=cwd,
        env=environment(num_devices),
        capture_output=True,
        text=True,
        timeout=300,
    )


def rows(run_dir):
    """Rows of metrics: of training, and of evaluations."""
    lines = (pathlib.Path(run_dir) / "metrics.jsonl").read_text().splitlines()
    parsed = [json.loads(line) for line in lines]
    return (
        [row for row in parsed if "loss" in row],
        [row for row in parsed if "eval_return_mean" in row],
    )
