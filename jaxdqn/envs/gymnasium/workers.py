"""Gymnasium's environments as a `VectorEnv`, played by other processes."""

import contextlib
import multiprocessing
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from jaxdqn import errors, machine
from jaxdqn.envs import api
from jaxdqn.envs.gymnasium import messages, specs

_PROGRAM = "jaxdqn.envs.gymnasium.worker"
_STDERR = 2
_PATIENCE_S = 5.0  # with which a process is waited for to end


class GymnasiumEnv:
    """Environments that share as many processes as there are cores.

    A game that has ended restarts on the next step, which ignores its action.

    Args:
      env_id: as `registry.resolve` returns it.
      num_envs: E.
      seed: environment i plays with `seed + i`.
      options: that differ from the environment's defaults.
      num_threads: number of processes; 0: as many as cores.
      with_screen: whether `screen` will be asked.

    Raises:
      OptionError, UnsupportedEnvError: see `specs.describe`.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int,
        seed: int,
        options: Mapping[str, Any],
        num_threads: int = 0,
        with_screen: bool = False,
    ):
        self.spec, self.num_envs = specs.describe(env_id, options), num_envs
        entry = specs.pickled_entry(env_id)
        num_workers = min(num_envs, num_threads or machine.cores())
        self._shares = np.array_split(np.arange(num_envs), num_workers)
        self._workers: list[_Worker] = []
        for share in self._shares:
            seeds = [seed + int(i) for i in share]
            task = messages.Task(env_id, entry, dict(options), seeds, with_screen)
            self._workers.append(_Worker(env_id, task))
        self._ended = np.ones(num_envs, bool)  # the row before this one closed a game
        self._resting = np.zeros(num_envs, bool)

    def send(self, actions: npt.NDArray[np.integer]) -> None:
        """Starts the step that plays `actions` [E]."""
        for one, share in zip(self._workers, self._shares, strict=True):
            one.send(np.asarray(actions)[share])

    def receive(self) -> api.TimeStep:
        """Waits for the pending step.

        Raises:
          EnvFailedError: an environment failed.
        """
        answers = [one.receive() for one in self._workers]
        frame, reward, terminated, truncated = map(np.concatenate, zip(*answers, strict=True))
        is_first = self._ended
        self._ended = terminated | truncated
        return api.TimeStep(
            frame=frame,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            is_first=is_first,
            life_lost=np.zeros(self.num_envs, bool),
        )

    def rest(self, envs: npt.NDArray[np.bool_]) -> None:
        """Plays some environments no more; see `api.VectorEnv.rest`."""
        for one, share in zip(self._workers, self._shares, strict=True):
            if not np.array_equal(envs[share], self._resting[share]):
                one.ask(messages.Rest(envs[share]))
        self._resting = np.array(envs)

    def screen(self) -> npt.NDArray[np.uint8]:
        """What the first environment shows now, as drawn for people: [H, W, 3].

        Raises:
          UnsupportedEnvError: it draws nothing.
        """
        picture = self._workers[0].ask(messages.SCREEN)
        if isinstance(picture, messages.Failure):
            raise api.UnsupportedEnvError(f"{self.spec.env_id} {picture.reason}")
        assert isinstance(picture, np.ndarray)
        return picture

    def close(self) -> None:
        """Ends the processes."""
        for one in self._workers:
            one.hang_up()
        for one in self._workers:
            one.wait()


class _Worker:
    """The parent's side of a process."""

    def __init__(self, env_id: str, task: messages.Task):
        self._env_id = env_id
        self._connection, theirs = multiprocessing.Pipe()
        # Each process has a core: threads of its own would only be in the way of others'. What this
        # process can import, it can.
        environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": _path()}
        # An environment that uses JAX would take most of a GPU's memory, in each process.
        environment["JAX_PLATFORMS"] = "cpu"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=_STDERR,  # what it prints is none of this program's results
                process_group=0,  # Ctrl-C reaches the parent alone, which saves first
                env=environment,
            )
        self.send(task)

    def send(self, message: Any) -> None:
        with contextlib.suppress(ConnectionError):  # `receive` says so
            self._connection.send(message)

    def _answer(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, ConnectionError):
            code = self._process.wait()
            raise errors.EnvFailedError(
                f"a process that played {self._env_id} ended with code {code}"
            ) from None

    def receive(self) -> messages.Answer:
        answer = self._answer()
        if isinstance(answer, messages.Failure):
            if answer.trace:
                print(answer.trace, file=sys.stderr, flush=True)
            raise errors.EnvFailedError(f"{self._env_id} failed: {answer.reason}")
        assert isinstance(answer, messages.Answer)
        return answer

    def ask(self, question: str | messages.Rest) -> Any:
        """The answer to a question between two steps. The pending step's answer comes first."""
        self.send(question)
        return self._answer()

    def hang_up(self) -> None:
        self._connection.close()

    def wait(self) -> None:
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:  # in a step that does not end
            self._process.kill()
            self._process.wait()


def _path() -> str:
    return os.pathsep.join(part or str(pathlib.Path.cwd()) for part in sys.path)
