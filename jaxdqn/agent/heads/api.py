"""What a head is to the rest of the program.

The module of a head, registered in `settings.registries`, defines `make(config) -> Head`. Its
functions are pure and for one transition; callers vmap. A network has K raw outputs for each of A
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

    raw: jax.Array  # [A, K] float32
    # [K] float32, the fractions of quantiles, where each call draws them; None where each of K has
    # one meaning
    taus: jax.Array | None = None


def of_action(outputs: Outputs, action: jax.Array) -> jax.Array:
    """The raw outputs [K] of an action []."""
    return outputs.raw[action]


class Head(NamedTuple):
    """What the K raw outputs for each action mean."""

    num_outputs: int  # K of the last dense layer
    values: Callable[[Outputs], jax.Array]  # action values [A]
    # (raw outputs [K] of the action taken, taus [K] or None of the state it was taken in, r_t [],
    # discount_t [], next return) -> loss [], priority [] for a sampler. The target is r_t +
    # discount_t * next return; no gradient flows through it.
    loss: Callable[..., tuple[jax.Array, jax.Array]]
    # (outputs of the state reached, action []) -> the return that follows it, as `loss` takes it
    next_return: Callable[[Outputs, jax.Array], jax.Array] = of_action
    # (outputs, weights [A], shifts [A]) -> the mean, over actions, of the return that follows each
    # and a shift, as `loss` takes it. None: this head knows no such mean.
    mean_next_return: Callable[[Outputs, jax.Array, jax.Array], jax.Array] | None = None
    # (outputs) -> returns [A, K] and their probabilities [A, K]. None: it knows their mean alone.
    distribution: Callable[[Outputs], tuple[jax.Array, jax.Array]] | None = None
    is_categorical: bool = False  # whether the probabilities are learned, and not the returns
    # A layer between the encoder and the dense layers, (features [B, F], keys [B] or None) ->
    # features [B, T, F], taus [B, T]. Each of T gives one output for each action, and K is T.
    # Without keys the taus are fixed. None: there is no such layer.
    embedding: nn.Module | None = None


def mean_over_actions(outputs: Outputs, weights: jax.Array, shifts: jax.Array) -> jax.Array:
    """`mean_next_return` where each raw output is a return, [K]."""
    chex.assert_rank([outputs.raw, weights, shifts], [2, 1, 1])
    return jnp.sum(weights[:, None] * (outputs.raw + shifts[:, None]), axis=0)
