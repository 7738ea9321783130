"""The time of a run: that in which it trains, and that on the clock on the wall."""

import contextlib
import time
from collections.abc import Iterator

import jax
import psutil

from jaxdqn.algorithms import run_state


def process_age_s() -> float:
    """Seconds since this process was started."""
    return max(0.0, time.time() - psutil.Process().create_time())


class Stopwatch:
    """Adds the time since it was started, or last read, to a run's counters.

    Args:
      begun_s: seconds that passed before, which count as wall-clock time alone.
    """

    def __init__(self, begun_s: float = 0.0) -> None:
        self._since = time.monotonic()
        self._wall_since = self._since - begun_s
        self._is_paused = False

    def training_s(self, state: run_state.RunState) -> float:
        """Seconds of training until now, without waiting for updates under way."""
        return state.counters.time_s + time.monotonic() - self._since

    def read(self, state: run_state.RunState) -> None:
        """Adds the time until now; updates under way count.

        Another thread may save while the main one is within a pause, which is no training.
        """
        jax.block_until_ready(state.train_state.updates)
        now = time.monotonic()
        if not self._is_paused:
            state.counters.time_s += now - self._since
        state.counters.wall_time_s += now - self._wall_since
        self._since = self._wall_since = now

    @contextlib.contextmanager
    def paused(self, state: run_state.RunState) -> Iterator[None]:
        """Counts what is done within as wall-clock time alone."""
        self.read(state)
        was_paused, self._is_paused = self._is_paused, True
        try:
            yield
        finally:
            self._is_paused, self._since = was_paused, time.monotonic()
