"""Notices environments that do not answer any more.

A thread that waits for an emulator waits in native code, where no signal reaches it. Another one
looks at the clock.
"""

import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from jaxdqn.envs import api


class Watchdog:
    """Calls a function, once and on a thread of its own, when a wait takes too long.

    Args:
      seconds: that a wait may take.
      on_timeout: called then, while the wait cannot end; to end the process is up to it.
    """

    def __init__(self, seconds: float, on_timeout: Callable[[], None]):
        self._on_timeout = on_timeout
        self._pause = min(1.0, seconds / 4)  # seconds between two looks
        self._looks = 0  # at the wait that goes on: while the process is stopped there are none
        self._most_looks = seconds / self._pause
        self._waits = False
        self._lock = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def watched(self, env: api.VectorEnv) -> "WatchedEnv":
        """The same environments, whose answers are waited for under this eye."""
        return WatchedEnv(env, self)

    def begin(self) -> None:
        """A wait begins."""
        self._looks, self._waits = 0, True

    def end(self) -> None:
        """It is over; where it came too late, this does not return."""
        with self._lock:
            self._waits = False

    def close(self) -> None:
        """Looks no more."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._pause):
            with self._lock:
                self._looks += self._waits
                if self._waits and self._looks > self._most_looks:
                    self._on_timeout()
                    return


class WatchedEnv:
    """Environments whose answers a watchdog waits for too."""

    def __init__(self, env: api.VectorEnv, watchdog: Watchdog):
        self.spec, self.num_envs = env.spec, env.num_envs
        self._env, self._watchdog = env, watchdog

    def send(self, actions: npt.NDArray[np.integer]) -> None:
        """Starts the step that plays `actions` [E]."""
        self._env.send(actions)

    def receive(self) -> api.TimeStep:
        """Waits for the step under way."""
        self._watchdog.begin()
        try:
            return self._env.receive()
        finally:
            self._watchdog.end()

    def close(self) -> None:
        """Frees the emulators."""
        self._env.close()
