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
        """Summarises the values of all rounds."""
        return cls(statistics.median(values), min(values), max(values), len(values))


def seconds(function: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call, until the devices have computed its result."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def interleaved(
    measurements: Mapping[str, Callable[[], float]],
    rounds: int,
    keep: Callable[[dict[str, list[float]]], object] = lambda values: None,
) -> dict[str, list[float]]:
    """Takes every measurement once per round, so that a slow minute affects all equally.

    The first round, in which functions are compiled and caches fill, does not count.

    Args:
      measurements: by name.
      rounds: number of rounds that count.
      keep: called with the values so far after each round.
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
