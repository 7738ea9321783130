"""Clocks that count whole calls, and medians over interleaved rounds."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax


class Rate(NamedTuple):
    """A rate or a time, over several rounds."""

    median: float
    lowest: float
    highest: float
    rounds: int

    @classmethod
    def of(cls, values: list[float]) -> "Rate":
        """Sums up what each round gave."""
        return cls(statistics.median(values), min(values), max(values), len(values))


def seconds(function: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call, until the devices are done with what it returns."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def interleaved(
    measurements: Mapping[str, Callable[[], float]],
    rounds: int,
    keep: Callable[[dict[str, list[float]]], object] = lambda values: None,
) -> dict[str, list[float]]:
    """Takes every measurement once a round, so that a slow minute of the machine hits them alike.

    A first round, in which functions are compiled and caches fill, does not count.

    Args:
      measurements: by name.
      rounds: that count.
      keep: gets what has been taken so far, after each of them.
    """
    values: dict[str, list[float]] = {name: [] for name in measurements}
    for number in range(rounds + 1):
        for name, measure in measurements.items():
            value = measure()
            if number:
                values[name].append(value)
        if number:
            keep(values)
    return values
