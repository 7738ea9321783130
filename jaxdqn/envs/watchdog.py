"""Notices environments that no longer answer.

A thread that waits for an emulator waits in native code, where no signal reaches it. So another
thread watches the clock.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from jaxdqn.envs import api

_PAUSE_S = 1.0  # between two checks
_HURRIED_S = 5.0  # that a wait may go on once a signal asks the run to stop


class Watchdog:
    """Calls a function, once and on a thread of its own, when a wait takes too long.

    Args:
      seconds: that a wait may take.
      is_hurried: returns whether waits are to be over soon. From then on one may go on for five
        seconds, and a later one may take as long.
      on_timeout: called then with the name of the environments and the limit in seconds. The
        wait cannot end meanwhile; `on_timeout` decides whether to end the process.
    """

    def __init__(
        self,
        seconds: float,
        is_hurried: Callable[[], bool],
        on_timeout: Callable[[str, float], None],
    ):
        self._seconds, self._is_hurried, self._on_timeout = seconds, is_hurried, on_timeout
        self._pause = min(_PAUSE_S, seconds / 4)
        self._looks = 0  # checks during the current wait; a stopped process makes none
        self._hurried_looks = 0  # of these, since it is hurried
        self._awaited = ""
        self._lock = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def watched(self, env: api.DrawnEnv, name: str) -> "WatchedEnv":
        """The same environments, watched by this watchdog."""
        return WatchedEnv(env, name, self)

    def begin(self, name: str) -> None:
        """Records that a wait begins."""
        self._looks, self._hurried_looks, self._awaited = 0, 0, name

    def end(self) -> None:
        """Records that the wait is over. If that came too late, this does not return."""
        with self._lock:
            self._awaited = ""

    def close(self) -> None:
        """Stops watching."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._pause):
            with self._lock:
                if not self._awaited:
                    continue
                self._looks += 1
                self._hurried_looks += self._is_hurried()
                for looks, limit in (
                    (self._looks, self._seconds),
                    (self._hurried_looks, _HURRIED_S),
                ):
                    if looks * self._pause > limit:
                        self._on_timeout(self._awaited, limit)
                        return


class WatchedEnv:
    """Environments that a watchdog watches."""

    def __init__(self, env: api.DrawnEnv, name: str, watchdog: Watchdog):
        self.spec, self.num_envs = env.spec, env.num_envs
        self._env, self._name, self._watchdog = env, name, watchdog

    def send(self, actions: npt.NDArray[np.integer]) -> None:
        """Starts the step that plays `actions` [E]."""
        self._env.send(actions)

    def receive(self) -> api.TimeStep:
        """Waits for the step under way."""
        with self._wait():
            return self._env.receive()

    def rest(self, envs: npt.NDArray[np.bool_]) -> None:
        """Plays some environments no more; see `api.VectorEnv.rest`."""
        with self._wait():
            self._env.rest(envs)

    def screen(self) -> npt.NDArray[np.uint8]:
        """What the first environment shows now; see `api.DrawnEnv.screen`."""
        with self._wait():
            return self._env.screen()

    def close(self) -> None:
        """Frees the emulators."""
        self._env.close()

    @contextlib.contextmanager
    def _wait(self) -> Iterator[None]:
        self._watchdog.begin(self._name)
        try:
            yield
        finally:
            self._watchdog.end()
