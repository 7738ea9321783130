"""Rates of learners that are each alone on the machine while they are measured, in turn."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from benchmarks.timed_runs import Rate
from jaxdqn import errors


def medians(measures: Mapping[str, Callable[[], Rate]], rounds: int) -> Iterator[dict[str, Rate]]:
    """Measures in interleaved rounds; after each it yields the medians so far.

    Where a measurement fails, its reason is shown and the others go on.

    Args:
      measures: what measures the rate of a learner, by its name.
      rounds: how often each is measured.
    """
    found: dict[str, list[Rate]] = defaultdict(list)
    for _ in range(rounds):
        for name, measure in measures.items():
            try:
                rate = measure()
            except errors.RunError as error:
                print(f"no rate: {error}", flush=True)
            else:
                found[name].append(rate)
        yield {name: _median(rates) for name, rates in found.items()}


def _median(rates: list[Rate]) -> Rate:
    """The first one, with the median of all speeds."""
    speed = statistics.median(rate.steps_per_second for rate in rates)
    return rates[0]._replace(steps_per_second=speed)
