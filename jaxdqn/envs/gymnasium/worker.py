"""A process that plays some of a run's environments.

  python -m jaxdqn.envs.gymnasium.worker FD

FD is its end of a connection, over which come a `messages.Task`, then arrays of actions, `SCREEN`
or `END`. It answers each but the last. It ends with its parent too, whatever ends that.
"""

import contextlib
import pickle
import signal
import sys
import traceback
from collections.abc import Generator
from multiprocessing import connection
from typing import Any

import numpy as np

from jaxdqn.envs import api
from jaxdqn.envs.gymnasium import frames, messages, specs


def play(task: messages.Task) -> Generator[Any, Any, None]:
    """A coroutine that takes what comes over the connection and yields the answers."""
    import gymnasium

    entry = pickle.loads(task.entry)  # noqa: S301  of the process that started this one
    envs = gymnasium.vector.SyncVectorEnv(
        [lambda: _converted(task, entry) for _ in task.seeds],
        autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP,
    )
    nothing = np.zeros(len(task.seeds), bool)
    frame, _ = envs.reset(seed=list(task.seeds))
    asked = yield messages.Answer(frame, nothing.astype(np.float32), nothing, nothing)
    first_action = getattr(envs.single_action_space, "start")  # noqa: B009  of Discrete alone
    while True:
        if isinstance(asked, str):
            asked = yield _picture(envs.envs[0])
            continue
        frame, reward, terminated, truncated, _ = envs.step(asked + first_action)
        asked = yield messages.Answer(frame, reward.astype(np.float32), terminated, truncated)


def _picture(env: Any) -> Any:
    try:
        return env.render()
    except Exception as error:
        return _failure(error)


def _converted(task: messages.Task, entry: Any) -> Any:
    """One environment whose observations are frames."""
    import gymnasium

    env = specs.make(entry, task.options, task.with_screen)
    seen = frames.shown(task.env_id, env.observation_space, task.options)
    assert seen
    return gymnasium.wrappers.TransformObservation(env, seen.frame, seen.space())


def _failure(error: Exception) -> messages.Failure:
    reason = next(iter(str(error).splitlines()), "")
    if not isinstance(error, api.UnsupportedEnvError):
        reason = f"{type(error).__name__}: {reason}"
    return messages.Failure(reason, traceback.format_exc())


def serve(parent: "connection.Connection[Any, Any]") -> None:
    """Plays until the parent says so or is gone."""
    playing, asked = None, parent.recv()
    while not isinstance(asked, str) or asked != messages.END:
        try:
            if playing is None:
                playing = play(asked)
                answer = next(playing)
            else:
                answer = playing.send(asked)
        except Exception as error:
            answer = _failure(error)
        parent.send(answer)
        asked = parent.recv()


def main() -> None:
    """Serves the connection that the command line names."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # the parent saves first, and then ends this
    with contextlib.suppress(EOFError, ConnectionError):  # the parent is gone
        serve(connection.Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
