"""HL-Gauss: a value as a histogram around it (Farebrother et al., arXiv:2403.03950)."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from jaxdqn.agent import distributions
from jaxdqn.agent.heads import api
from jaxdqn.settings import config as config_lib


def make(config: config_lib.Config) -> api.Head:
    """The head of a run."""
    bins = config.num_atoms
    edges = np.linspace(config.value_min, config.value_max, bins + 1, dtype=np.float32)
    return hl_gauss(edges, config.gauss_width)


def hl_gauss(edges: npt.NDArray[np.float32], width: float) -> api.Head:
    """Builds a head.

    Args:
      edges: [K + 1] of the bins, evenly spaced and rising.
      width: standard deviation of targets, in widths of a bin.
    """
    centres = ((edges[1:] + edges[:-1]) / 2).astype(np.float32)
    deviation = width * float(edges[1] - edges[0])

    def values(outputs: api.Outputs) -> jax.Array:
        return distributions.expectation(outputs.raw, centres)

    def loss(
        logits: jax.Array, _: None, r_t: jax.Array, discount_t: jax.Array, next_return: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        value = jax.lax.stop_gradient(r_t + discount_t * next_return)
        loss, _priority = distributions.cross_entropy(logits, histogram(edges, deviation, value))
        predicted = distributions.expectation(logits[None], centres)[0]
        return loss, jnp.abs(value - predicted)

    def next_return(outputs: api.Outputs, action: jax.Array) -> jax.Array:
        return values(outputs)[action]

    def mean_next_return(outputs: api.Outputs, weights: jax.Array, shifts: jax.Array) -> jax.Array:
        return jnp.sum(weights * (values(outputs) + shifts))

    return api.Head(
        num_outputs=len(centres),
        values=values,
        loss=loss,
        next_return=next_return,
        mean_next_return=mean_next_return,
        distribution=lambda outputs: distributions.probabilities(outputs.raw, centres),
        is_categorical=True,
    )


def histogram(edges: npt.NDArray[np.float32], deviation: float, value: jax.Array) -> jax.Array:
    """The share of a normal distribution around a value in each bin.

    A value outside is moved to the nearest edge: far outside no bin would have a share.

    Args:
      edges: [K + 1] of the bins.
      deviation: the standard deviation.
      value: [].

    Returns:
      [K], of sum 1.
    """
    chex.assert_rank([edges, value], [1, 0])
    value = jnp.clip(value, edges[0], edges[-1])
    below = jax.scipy.special.ndtr((edges - value) / deviation)
    return jnp.diff(below) / (below[-1] - below[0])
