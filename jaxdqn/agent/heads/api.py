"""What a head is to the rest of the program.

The module of a head, registered in `settings.registries`, defines `make(config) -> Head`. Its
functions are pure and for one transition; callers vmap. A network gives K numbers for each of A
actions: one value, the logits of a distribution, or quantiles.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax


class Head(NamedTuple):
    """What K numbers for each action mean."""

    num_outputs: int  # K of the last dense layer
    values: Callable[[jax.Array], jax.Array]  # outputs [A, K] -> action values [A]
    # (outputs_tm1 [A, K], a_tm1 [], r_t [], discount_t [], outputs_t [A, K] of the target network,
    # values_t [A] that choose the action) -> loss [], priority [] for a sampler
    loss: Callable[..., tuple[jax.Array, jax.Array]]
    # A layer between the encoder and the dense layers, (features [B, F], key or None) -> features
    # [B, T, F], of which each of T gives one number for each action; None: there is none.
    embedding: nn.Module | None = None
