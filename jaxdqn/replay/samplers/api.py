"""What a sampler is to the rest of the program.

The module of a sampler, registered in `settings.registries`, defines
`make(config, layout, rule, axis_name) -> Sampler`. All functions are pure, and each device runs
them on the environments that it holds; `axis_name` is the mesh axis that splits them, or None.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax

from jaxdqn.replay import ring


class Drawn(flax.struct.PyTreeNode):
    """B transitions that were drawn; one may come twice."""

    row: jax.Array  # [B] int32, as rows are counted in a ring
    env: jax.Array  # [B] int32
    weight: jax.Array | None  # [B] float32, factor of each loss; None: all weigh 1


class Sampler(NamedTuple):
    """Pure functions that draw transitions.

    A sampler that learns nothing from what was added and drawn has an empty state. Environments
    are the first axis of each array in a state: devices share it out as they share the ring.
    """

    # (ring, key, sampler state, B, updates made so far []) -> what is drawn
    draw: Callable[[ring.RingState, jax.Array, Any, int, jax.Array], Drawn]
    init: Callable[[int], Any] = lambda num_envs: ()  # (E) -> state
    # (state, ring after a row was written) -> state
    added: Callable[[Any, ring.RingState], Any] = lambda state, _: state
    # (state) -> metrics by name, for people; each device tells of its own environments
    statistics: Callable[[Any], dict[str, jax.Array]] | None = None
    # (state, drawn, priority [B] float32, accepted [] bool) -> state, after an update
    learned: Callable[..., Any] = lambda state, *_: state
