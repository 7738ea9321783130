"""Runs the real programs in processes of their own."""

import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import orbax.checkpoint as ocp

from benchmarks import forks
from jaxdqn.rundir import metrics
from tests import xla_flags

ROOT = pathlib.Path(__file__).parents[1]  # of the checkout

# Small enough for a test, large enough to learn, evaluate, log and save several times.
SMALL = (
    "--num_envs=8",
    "--learning_starts_steps=200",
    "--replay_capacity=800",
    "--total_steps=800",
    "--log_every_steps=100",
    "--eval_every_steps=400",
    "--eval_episodes=2",
    "--checkpoint_every_steps=400",
    "--max_episode_steps=100",
    "--held_out_observations=20",
)

# Backward sweeps of Breakout as small.
SWEEP = ("--preset=hvass_breakout", "--num_envs=8", "--replay_capacity=800", "--img_height=42")
SWEEP += ("--img_width=32", "--hidden_sizes=16", "--sweep_fraction_start=0.5", "--eval_episodes=2")
SWEEP += ("--total_steps=900", "--log_every_steps=250", "--eval_every_steps=0")
SWEEP += ("--batch_size=64",)
SWEEP += ("--max_episode_steps=60", "--frame_skip_min=2", "--sweep_loss_limit_start=0")
SWEEP += ("--conv_features=2,2,2", "--held_out_observations=0")


# Real processes, that die of real signals. They are forked from one that has imported everything
# but the programs and done nothing yet: a start takes a tenth of a second.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.imported"])


def environment(num_devices=1, is_long=False):
    """The environment of this process, with as many devices as a program shall have.

    Programs that compute for long are worth the time that XLA takes for its usual optimizations.
    """
    xla = xla_flags.devices(num_devices) + ("" if is_long else f" {xla_flags.QUICKLY}")
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": xla}


def command(*flags, name="train"):
    return [sys.executable, "-m", f"jaxdqn.{name}", *flags]


def _become(module, flags, driver, cwd, env, stdout, stderr):
    """What a forked process does: all that `python -m` would."""
    for file, number in ((stdout, 1), (stderr, 2)):
        os.dup2(file.fileno(), number)
        file.close()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:0] = [str(cwd), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    forks.become(module, flags, prepare=lambda: exec(driver or "", {}))


class Program:
    """A program that runs, in a process of its own.

    Args:
      module: as `python -m` takes it.
      flags: of it.
      driver: Python that is run in it first.
      cwd: where.
      num_devices: virtual devices.
      is_long: it computes more than it compiles.
    """

    def __init__(self, module, flags, driver=None, cwd=None, num_devices=1, is_long=False):
        pipes = [_FORKS.Pipe(duplex=False) for _ in range(2)]
        env = environment(num_devices, is_long)
        written = [pipe[1] for pipe in pipes]
        arguments = (module, flags, driver, pathlib.Path(cwd or ".").absolute(), env, *written)
        self._process = _FORKS.Process(target=_become, args=arguments)
        self._process.start()
        self.pid = self._process.pid
        read = []
        for reader, writer in pipes:
            writer.close()
            read.append(os.fdopen(os.dup(reader.fileno())))
            reader.close()
        self.stdout, self._stderr = read
        # Read as it comes: a pipe that is full would stop the process.
        self._errors = []
        self._reader = threading.Thread(target=lambda: self._errors.extend(self._stderr))
        self._reader.daemon = True
        self._reader.start()
        # Whatever waits for it, reads what it prints.
        self._limit = threading.Timer(300, self.kill)
        self._limit.daemon = True
        self._limit.start()

    def send_signal(self, signum):
        os.kill(self.pid, signum)

    def kill(self):
        self._process.kill()

    def wait(self, timeout=300):
        """Waits for the end; returns the exit code, that of a signal negative."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self.kill()
            raise TimeoutError(f"{self.pid} did not end in {timeout} s")
        return self._process.exitcode

    @property
    def returncode(self):
        return self._process.exitcode

    def wait_for(self, beginning):
        """Reads what is printed until a line begins so."""
        for line in self.stdout:
            if line.startswith(beginning):
                return
        raise AssertionError(f"no line begins with {beginning!r}: {self.end()[1]}")

    def end(self):
        """Waits for the end; returns what was still printed, and all errors."""
        printed = self.stdout.read()
        self.stdout.close()
        return printed, self.errors()

    def errors(self):
        """Waits for the end of a program whose output nobody reads; returns all errors."""
        self.wait()
        self._limit.cancel()
        self._reader.join()
        self._stderr.close()
        return "".join(self._errors)


def train(*flags, **how):
    return run("train", *flags, **how)


def last_evaluation(run_dir, *flags, cwd):
    """Trains to the end, and returns the row of the only evaluation."""
    flags = (*flags, f"--run_dir={run_dir}", "--eval_every_steps=0")
    result = train(*flags, cwd=cwd, is_long=True)
    assert result.returncode == 0, result.stderr
    _, (evaluation,) = rows(run_dir)
    return evaluation


def run(name, *flags, package="jaxdqn", **how):
    """Runs a program to its end; returns its exit code and what it printed."""
    program = Program(f"{package}.{name}", flags, **how)
    stdout, stderr = program.end()
    return subprocess.CompletedProcess([name, *flags], program.returncode, stdout, stderr)


def start(*flags, driver=None, cwd=None):
    """A training process that runs on; `driver` is Python that is run in it first."""
    return Program("jaxdqn.train", flags, driver, cwd)


def rows(run_dir):
    """Rows of metrics: of training, and of evaluations."""
    lines = (pathlib.Path(run_dir) / "metrics.jsonl").read_text().splitlines()
    parsed = [json.loads(line) for line in lines]
    return metrics.training(parsed), metrics.evaluations(parsed)


def numbers(run_dir):
    """All rows of metrics, less what tells of time and memory."""
    lines = (pathlib.Path(run_dir) / "metrics.jsonl").read_text().splitlines()
    return metrics.without_varying(map(json.loads, lines))


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


def assert_refused(result, told):
    """A program ended because of wrong usage, with one line that says so."""
    assert result.returncode == 2
    assert told in result.stderr and result.stderr.count("\n") == 1


def assert_equal(one, two):
    """Two trees of arrays are the same, bit for bit."""
    assert jax.tree.structure(one) == jax.tree.structure(two)
    jax.tree.map(np.testing.assert_array_equal, one, two)


def newest(run_dir):
    """The step of the newest checkpoint."""
    paths = (pathlib.Path(run_dir) / "checkpoints").iterdir()
    return max(int(path.name) for path in paths if path.name.isdecimal())


def wait_until(condition):
    """Waits until something holds that takes no longer than 300 seconds."""
    until = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def wait_for_checkpoint(run_dir, from_step):
    """Waits until one of this step or a later one is whole."""
    folder = pathlib.Path(run_dir) / "checkpoints"

    def is_there():
        names = [path.parent.name for path in folder.glob("[0-9]*/SHA256SUMS")]
        return any(name.isdecimal() and int(name) >= from_step for name in names)

    wait_until(is_there)


def assert_same_end(one, two):
    """Two runs ended with the same numbers and the same learner, bit for bit."""
    assert numbers(one) == numbers(two)
    assert newest(one) == newest(two)
    assert_equal(*(saved_learner(run, newest(run)) for run in (one, two)))
