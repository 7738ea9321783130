"""Runs the real programs in processes of their own."""

import json
import os
import pathlib
import subprocess
import sys
import threading

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxdqn.runtime import metrics

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


def numbers(run_dir):
    """All rows of metrics, less what tells of time and memory."""
    lines = (pathlib.Path(run_dir) / "metrics.jsonl").read_text().splitlines()
    rows = [
        {name: value for name, value in json.loads(line).items() if name not in metrics.VARYING}
        for line in lines
    ]
    return [row for row in rows if len(row) > 1]


def start(*flags, driver=None):
    """A training process that runs on; `driver` is Python that is run in it first."""
    code = f"{driver}\nimport runpy\nrunpy.run_module('jaxdqn.train', run_name='__main__')"
    how = ["-c", code] if driver else ["-m", "jaxdqn.train"]
    process = subprocess.Popen(
        [sys.executable, *how, *flags],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Read as it comes: a pipe that is full would stop the process.
    process.errors = []
    reader = threading.Thread(target=lambda: process.errors.extend(process.stderr), daemon=True)
    reader.start()
    process.reader = reader
    return process


def end(process):
    """Waits for a process's end; returns what it still printed, and all errors."""
    stdout = process.stdout.read()
    process.wait(timeout=200)
    process.reader.join()
    process.stdout.close()
    process.stderr.close()
    return stdout, "".join(process.errors)


def wait_for(process, beginning):
    """Reads what a process prints until a line begins so."""
    for line in process.stdout:
        if line.startswith(beginning):
            return
    raise AssertionError(f"no line begins with {beginning!r}: {end(process)[1]}")


def saved_arrays(path):
    """What Orbax saved in a folder as numpy arrays, read with nothing of the program's own."""
    with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(path.absolute()).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return checkpointer.restore(path.absolute(), restore_args=as_numpy)


def saved_learner(run_dir, step):
    """Parameters, target network, optimizer, key and counters."""
    return saved_arrays(pathlib.Path(run_dir) / "checkpoints" / str(step) / "learner")


def saved_parameters(run_dir, step):
    """A network's parameters."""
    return saved_learner(run_dir, step)["params"]["params"]


def saved_replay(run_dir, step):
    """The blocks of the replay that a checkpoint names."""
    run = pathlib.Path(run_dir)
    blocks = json.loads((run / "checkpoints" / str(step) / "run" / "metadata").read_text())
    folders = {name: saved_arrays(run / "replay" / name) for name in blocks["replay"].values()}
    return {
        block: folders[name][f"block_{int(block):03d}"] for block, name in blocks["replay"].items()
    }


def assert_equal(one, two):
    """Two trees of arrays are the same, bit for bit."""
    assert jax.tree.structure(one) == jax.tree.structure(two)
    jax.tree.map(np.testing.assert_array_equal, one, two)


def newest(run_dir):
    """The step of the newest checkpoint."""
    paths = (pathlib.Path(run_dir) / "checkpoints").iterdir()
    return max(int(path.name) for path in paths if path.name.isdecimal())


def assert_same_end(one, two):
    """Two runs ended with the same numbers and the same learner, bit for bit."""
    assert numbers(one) == numbers(two)
    assert newest(one) == newest(two)
    assert_equal(*(saved_learner(run, newest(run)) for run in (one, two)))
