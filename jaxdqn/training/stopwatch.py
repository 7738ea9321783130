"""The time that a run trains, without its evaluations and films."""

import contextlib
import time
from collections.abc import Iterator

import jax

from jaxdqn.algorithms import run_state


class Stopwatch:
    """Adds the time since it was started, or last read, to a run's counters."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def read(self, state: run_state.RunState) -> None:
        """Adds the time until now; updates under way count."""
        jax.block_until_ready(state.train_state.updates)
        now = time.monotonic()
        state.counters.time_s += now - self._since
        self._since = now

    @contextlib.contextmanager
    def paused(self, state: run_state.RunState) -> Iterator[None]:
        """Does not count what is done within."""
        self.read(state)
        try:
            yield
        finally:
            self._since = time.monotonic()
