"""What an explorer is to the rest of the program.

The module of an explorer, registered in `settings.registries`, defines `make(config) -> Explorer`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Explorer(NamedTuple):
    """Pure functions for one environment; callers vmap."""

    # (key, q_values [A], epsilon [], state, is_first []) -> action [] int32, state
    act: Callable[[jax.Array, jax.Array, jax.Array, Any, jax.Array], tuple[jax.Array, Any]]
    init: Callable[[], Any] = lambda: None  # the state before the first step; None: there is none
