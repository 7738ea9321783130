"""What values a setting can have, and how that is said."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Range(NamedTuple):
    """A test of a value, and what would be right where it fails."""

    holds: Callable[[Any], bool]
    text: str


def one_of(*choices: str) -> Range:
    """One of some names."""
    return Range(lambda value: value in choices, f"one of {', '.join(choices)}")


COUNT = Range(lambda value: value >= 1, "at least 1")
NOT_NEGATIVE = Range(lambda value: 0 <= value < math.inf, "at least 0 and finite")
SHARE = Range(lambda value: 0 <= value <= 1, "between 0 and 1")
PART = Range(lambda value: 0 < value <= 1, "above 0, at most 1")
FINITE = Range(math.isfinite, "a finite number")
POSITIVE = Range(lambda value: 0 < value < math.inf, "a finite number above 0")
