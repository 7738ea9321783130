"""Distributions over K fixed returns, given as logits; of one transition, callers vmap."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt


def expectation(logits: jax.Array, values: npt.NDArray[np.float32]) -> jax.Array:
    """The mean of K values by distributions of logits [A, K].

    It is a sum, not a product of matrices: those have few digits on accelerators.
    """
    return jnp.sum(jax.nn.softmax(logits) * values[None, :], axis=-1)


def probabilities(
    logits: jax.Array, values: npt.NDArray[np.float32]
) -> tuple[jax.Array, jax.Array]:
    """The K values for each of A actions, and their probabilities, both [A, K]."""
    found = jax.nn.softmax(logits)
    return jnp.broadcast_to(values, found.shape), found


def cross_entropy(logits: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Loss and priority of a transition.

    The priority is the divergence of the target from the prediction. The loss is larger by the
    target's own entropy, which no learning takes away.

    Args:
      logits: [K] of the prediction.
      target: [K] probabilities.

    Returns:
      [] loss, [] priority.
    """
    chex.assert_rank([logits, target], 1)
    loss = -jnp.sum(target * jax.nn.log_softmax(logits))
    return loss, jnp.maximum(0, loss - jnp.sum(jax.scipy.special.entr(target)))
