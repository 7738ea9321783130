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
from collections.abc import Generator, Sequence
from multiprocessing import connection
from typing import Any

import numpy as np

from jaxdqn import wording
from jaxdqn.envs import api
from jaxdqn.envs.gymnasium import frames, messages, specs

_REMEDY = 'return an RGB array from it, and list "rgb_array" in metadata["render_modes"]'
_LOOK_S = 1.0  # between two looks at whether the parent is there


def play(task: messages.Task) -> Generator[Any, Any, None]:
    """A coroutine that takes what comes over the connection and yields the answers."""
    entry = pickle.loads(task.entry)  # noqa: S301  of the process that started this one
    with contextlib.ExitStack() as stack:
        envs = []
        for _ in task.seeds:
            envs.append(specs.make(entry, task.options, task.with_screen))
            stack.callback(envs[-1].close)
        yield from _played(task, envs)


def _played(task: messages.Task, envs: Sequence[Any]) -> Generator[Any, Any, None]:
    """A game that has ended begins again on the next step, which ignores its action."""
    shown = frames.shown(task.env_id, envs[0].observation_space, task.options)
    assert shown
    seen = [
        shown.frame(env.reset(seed=seed)[0]) for env, seed in zip(envs, task.seeds, strict=True)
    ]
    reward = np.zeros(len(envs), np.float32)
    rests, ended, terminated, truncated = np.zeros((4, len(envs)), bool)
    while True:
        asked = yield messages.Answer(np.stack(seen), reward, terminated, truncated)
        while not isinstance(asked, np.ndarray):
            if isinstance(asked, messages.Rest):
                rests = asked.envs
                asked = yield None
            else:
                asked = yield _picture(envs[0])
        reward[:], terminated[:], truncated[:] = 0, False, False
        for i, env in enumerate(envs):
            if rests[i]:
                continue
            if ended[i]:
                observation, _ = env.reset()
            else:
                action = asked[i] + env.action_space.start
                observation, reward[i], terminated[i], truncated[i], _ = env.step(action)
            seen[i] = shown.frame(observation)
            ended[i] = terminated[i] or truncated[i]


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
