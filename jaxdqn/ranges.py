"""What values a setting can have, and how that is said."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Range(NamedTuple):
    """A test of a value, and what would be right where it fails."""

    holds: Callable[[Any], bool]
    text: str


def at_least(smallest: float) -> Range:
    """Numbers from `smallest` on."""
    return Range(lambda value: value >= smallest, f"at least {smallest}")


def one_of(*choices: str) -> Range:
    """One of some names."""
    return Range(lambda value: value in choices, f"one of {', '.join(choices)}")


COUNT = at_least(1)
NOT_NEGATIVE = at_least(0)
SHARE = Range(lambda value: 0 <= value <= 1, "between 0 and 1")
FINITE = Range(math.isfinite, "a finite number")
POSITIVE = Range(lambda value: 0 < value < math.inf, "a finite number above 0")
