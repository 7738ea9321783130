"""Which values a setting can have, and how messages say so."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Range(NamedTuple):
    """A test of a value, and what would be right if it fails."""

    holds: Callable[[Any], bool]
    right: str | Callable[[], str]  # or a function, where it is not known yet
    choices: tuple[str, ...] = ()  # all values that are right, if they are names

    @property
    def text(self) -> str:
        """What would be right."""
        return self.right if isinstance(self.right, str) else self.right()


def one_of(*choices: str) -> Range:
    """One of some names."""
    return Range(lambda value: value in choices, f"one of {', '.join(choices)}", choices)


def at_most(most: int, least: int = 1) -> Range:
    """Whole numbers from `least` on."""
    return Range(lambda value: least <= value <= most, f"at least {least:,}, at most {most:,}")


# Devices and emulators count in int32.
COUNT = Range(lambda value: 1 <= value < 2**31, "at least 1, below 2**31")
COUNT_OR_ZERO = Range(lambda value: 0 <= value < 2**31, "at least 0, below 2**31")
# Agent steps over all environments, which the host counts.
STEPS = Range(lambda value: 1 <= value <= 10**15, "at least 1, at most 10**15")
STEPS_OR_ZERO = Range(lambda value: 0 <= value <= 10**15, "at least 0, at most 10**15")
NOT_NEGATIVE = Range(lambda value: 0 <= value < math.inf, "at least 0 and finite")
SHARE = Range(lambda value: 0 <= value <= 1, "between 0 and 1")
PART = Range(lambda value: 0 < value <= 1, "above 0, at most 1")
FINITE = Range(math.isfinite, "a finite number")
POSITIVE = Range(lambda value: 0 < value < math.inf, "a finite number above 0")
