"""What a head is to the rest of the program.

The module of a head, registered in `settings.registries`, defines `make(config) -> Head`. Its
functions are pure and for one transition; callers vmap. A network gives K numbers for each of A
actions: one value, the logits of a distribution, or quantiles.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp


class Outputs(NamedTuple):
    """What a network gives for one observation; with a leading [B] for a batch."""

    numbers: jax.Array  # [A, K] float32
    # [K] float32, of quantiles, where they are drawn anew; None where each of K has one meaning
    fractions: jax.Array | None = None


def numbers_of(outputs: Outputs, action: jax.Array) -> jax.Array:
    """The numbers [K] of an action []."""
    return outputs.numbers[action]


class Head(NamedTuple):
    """What K numbers for each action mean."""

    num_outputs: int  # K of the last dense layer
    values: Callable[[Outputs], jax.Array]  # action values [A]
    # (numbers [K] of the action taken and fractions [K] or None of the state it was taken in, r_t
    # [], discount_t [], what follows) -> loss [], priority [] for a sampler. The target is r_t +
    # discount_t * what follows; no gradient flows through it.
    loss: Callable[..., tuple[jax.Array, jax.Array]]
    # (outputs of the state reached, action []) -> the return that follows it, as `loss` takes it
    following: Callable[[Outputs, jax.Array], jax.Array] = numbers_of
    # (outputs, weights [A], shifts [A]) -> the mean, over actions, of the return that follows each
    # and a shift, as `loss` takes it. None: this head knows no such mean.
    following_mean: Callable[[Outputs, jax.Array, jax.Array], jax.Array] | None = None
    # (outputs) -> returns [A, K] and their probabilities [A, K]. None: it knows their mean alone.
    distribution: Callable[[Outputs], tuple[jax.Array, jax.Array]] | None = None
    is_categorical: bool = False  # whether the probabilities are learned, and not the returns
    # A layer between the encoder and the dense layers, (features [B, F], keys [B] or None) ->
    # features [B, T, F], fractions [B, T]. Each of T gives one number for each action, and K is T.
    # Without keys the fractions are fixed. None: there is no such layer.
    embedding: nn.Module | None = None


def mean_of_numbers(outputs: Outputs, weights: jax.Array, shifts: jax.Array) -> jax.Array:
    """`following_mean` where each number is a return, [K]."""
    chex.assert_rank([outputs.numbers, weights, shifts], [2, 1, 1])
    return jnp.sum(weights[:, None] * (outputs.numbers + shifts[:, None]), axis=0)
