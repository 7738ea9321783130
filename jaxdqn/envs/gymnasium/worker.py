"""A process that plays some of a run's environments.

  python -m jaxdqn.envs.gymnasium.worker FD

FD is its end of a connection, over which come a `messages.Task`, then arrays of actions, `SCREEN`
or `messages.Rest`. It answers each, and ends when the connection closes or its parent ends.
"""

import contextlib
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Generator
from multiprocessing import connection
from typing import Any

import gymnasium
import numpy as np

from jaxdqn import wording
from jaxdqn.envs import api
from jaxdqn.envs.gymnasium import frames, messages, specs

_REMEDY = 'return an RGB array from it, and list "rgb_array" in metadata["render_modes"]'
_LOOK_S = 1.0  # between two looks at whether the parent is there


class _Player(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Skips steps while resting. Drops `info`, which a vector environment would merge."""

    rests = False

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begins a game."""
        if not self.rests:
            self._seen = self.env.reset(**options)[0]
        return self._seen, {}

    def step(self, action: Any) -> Any:
        """Plays a step; if it rests, shows what it showed before."""
        if self.rests:
            return self._seen, 0.0, False, False, {}
        self._seen, *others, _ = self.env.step(action)
        return self._seen, *others, {}


def play(task: messages.Task) -> Generator[Any, Any, None]:
    """A coroutine that takes what comes over the connection and yields the answers."""
    entry = pickle.loads(task.entry)  # noqa: S301  of the process that started this one
    envs = gymnasium.vector.SyncVectorEnv(
        [lambda: _converted(task, entry) for _ in task.seeds],
        autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP,
    )
    try:
        yield from _played(task, envs)
    finally:
        envs.close()


def _played(task: messages.Task, envs: Any) -> Generator[Any, Any, None]:
    nothing = np.zeros(len(task.seeds), bool)
    frame, _ = envs.reset(seed=list(task.seeds))
    asked = yield messages.Answer(frame, nothing.astype(np.float32), nothing, nothing)
    first_action = envs.single_action_space.start
    while True:
        if isinstance(asked, str):
            asked = yield _picture(envs.envs[0])
            continue
        if isinstance(asked, messages.Rest):
            for env, rests in zip(envs.envs, asked.envs, strict=True):
                env.rests = bool(rests)
            asked = yield None
            continue
        frame, reward, terminated, truncated, _ = envs.step(asked + first_action)
        asked = yield messages.Answer(frame, reward.astype(np.float32), terminated, truncated)


def _picture(env: Any) -> np.ndarray | messages.Failure:
    """What an environment draws, [H, W, 3] uint8; or why it draws nothing."""
    try:
        picture = env.render()
        if np.ndim(picture) == 3 and np.shape(picture)[2] == 3:
            return np.asarray(picture, np.uint8)
    except NotImplementedError:  # of `gymnasium.Env` itself
        return messages.Failure(f"has no render(): {_REMEDY}", "")
    except Exception as error:  # whatever somebody's environment raises
        return messages.Failure(f"draws no picture: {wording.with_type(error)}", "")
    what = f"shape {np.shape(picture)}" if np.ndim(picture) else str(picture)[:50]
    return messages.Failure(f"draws no picture: render() returns {what}; {_REMEDY}", "")


def _converted(task: messages.Task, entry: Any) -> Any:
    """One environment whose observations are frames."""
    env = specs.make(entry, task.options, task.with_screen)
    seen = frames.shown(task.env_id, env.observation_space, task.options)
    assert seen
    return _Player(gymnasium.wrappers.TransformObservation(env, seen.frame, seen.space()))


def _failure(error: Exception) -> messages.Failure:
    if isinstance(error, api.UnsupportedEnvError):
        return messages.Failure(str(error), "")
    return messages.Failure(wording.with_type(error), traceback.format_exc())


def serve(parent: "connection.Connection[Any, Any]") -> None:
    """Plays until the connection is closed, which raises EOFError or ConnectionError."""
    with contextlib.closing(play(parent.recv())) as playing:
        asked = None  # which begins it
        while True:
            try:
                answer = playing.send(asked)
            except Exception as error:
                answer = _failure(error)
            parent.send(answer)
            asked = parent.recv()


def _end_with(parent: int) -> None:
    """Ends this process when its parent has ended, whatever it is doing."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def main() -> None:
    """Serves the connection that the command line names."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # the parent saves first, and then ends this
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):
        serve(connection.Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
