"""What a head is to the rest of the program.

The module of a head, registered in `settings.registries`, defines `make(config) -> Head`. Its
functions are pure and for one transition; callers vmap. A network gives K numbers for each of A
actions: one value, the logits of a distribution, or quantiles.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax


class Outputs(NamedTuple):
    """What a network gives for one observation; with a leading [B] for a batch."""

    numbers: jax.Array  # [A, K] float32
    # [K] float32, of quantiles, where they are drawn anew; None where each of K has one meaning
    fractions: jax.Array | None = None


class Head(NamedTuple):
    """What K numbers for each action mean."""

    num_outputs: int  # K of the last dense layer
    values: Callable[[Outputs], jax.Array]  # action values [A]
    # (outputs_tm1, a_tm1 [], r_t [], discount_t [], outputs_t of the target network, values_t [A]
    # that choose the action) -> loss [], priority [] for a sampler
    loss: Callable[..., tuple[jax.Array, jax.Array]]
    # A layer between the encoder and the dense layers, (features [B, F], keys [B] or None) ->
    # features [B, T, F], fractions [B, T]. Each of T gives one number for each action, and K is T.
    # Without keys the fractions are fixed. None: there is no such layer.
    embedding: nn.Module | None = None
