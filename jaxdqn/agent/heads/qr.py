"""QR-DQN: quantiles of returns at fixed fractions, taus (Dabney et al., arXiv:1710.10044)."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from jaxdqn.agent import losses
from jaxdqn.agent.heads import api
from jaxdqn.settings import config as config_lib


def make(config: config_lib.Config) -> api.Head:
    """The head of a run."""
    return quantile_head(config.num_quantiles, config.quantile_kappa)


def midpoints(num_quantiles: int) -> npt.NDArray[np.float32]:
    """The taus in the middle of N equal parts, [N]."""
    return ((np.arange(num_quantiles) + 0.5) / num_quantiles).astype(np.float32)


def quantile_head(num_quantiles: int, kappa: float) -> api.Head:
    """Builds a head; outputs without taus of their own are at `midpoints`.

    Args:
      num_quantiles: N.
      kappa: error at which the loss becomes linear; 0: at once.
    """

    def values(outputs: api.Outputs) -> jax.Array:
        return jnp.mean(outputs.raw, axis=-1)

    def loss(
        quantiles: jax.Array,
        taus: jax.Array | None,
        r_t: jax.Array,
        discount_t: jax.Array,
        next_return: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        if taus is None:
            taus = jnp.asarray(midpoints(num_quantiles))
        target = jax.lax.stop_gradient(r_t + discount_t * next_return)
        loss = quantile_loss(quantiles, taus, target, kappa)
        return loss, jnp.abs(jnp.mean(target) - jnp.mean(quantiles))

    return api.Head(
        num_outputs=num_quantiles,
        values=values,
        loss=loss,
        mean_next_return=api.mean_over_actions,
        distribution=lambda outputs: (
            outputs.raw,
            jnp.full_like(outputs.raw, 1 / num_quantiles),
        ),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def quantile_loss(
    quantiles: jax.Array, taus: jax.Array, target: jax.Array, kappa: float
) -> jax.Array:
    """Quantile Huber loss: the mean over targets, summed over predictions.

    It is not divided by kappa, as in rlax and in Dopamine's QR-DQN. For a kappa of 1 it is also the
    loss of the IQN paper. Only predictions have a gradient. It is worked out with the loss, because
    its derivation by JAX would write several arrays of all N M errors to memory.

    Args:
      quantiles: [N] predicted.
      taus: [N] of them.
      target: [M] samples or quantiles of the return.
      kappa: error at which the loss becomes linear; 0: at once.

    Returns:
      [] loss.
    """
    return _loss_and_slopes(quantiles, taus, target, kappa)[0]


def _loss_and_slopes(
    quantiles: jax.Array, taus: jax.Array, target: jax.Array, kappa: float
) -> tuple[jax.Array, jax.Array]:
    """The loss [], and its gradient [N] by the predictions."""
    chex.assert_rank([quantiles, taus, target], 1)
    sums = jax.lax.platform_dependent(
        quantiles,
        target,
        cpu=functools.partial(sums_one_by_one, kappa=kappa),
        default=functools.partial(sums_at_once, kappa=kappa),
    )
    below, above, pull_up, pull_down = (each / target.shape[0] for each in sums)
    # A prediction below the target weighs its fraction, one above it the rest.
    rest = 1 - taus
    return jnp.sum(taus * below + rest * above), rest * pull_down - taus * pull_up


def _backward(kappa: float, slopes: jax.Array, cotangent: jax.Array) -> tuple[Any, ...]:
    del kappa
    return cotangent * slopes, None, None


quantile_loss.defvjp(_loss_and_slopes, _backward)


def _terms(errors: jax.Array, kappa: float) -> tuple[jax.Array, ...]:
    """Huber losses of predictions below and above their targets, and their slopes; elementwise."""
    below, above = jnp.maximum(errors, 0.0), jnp.maximum(-errors, 0.0)
    if not kappa:
        return below, above, jnp.sign(below), jnp.sign(above)
    sizes = (losses.huber(each, kappa) for each in (below, above))
    return *sizes, jnp.minimum(below, kappa), jnp.minimum(above, kappa)


def sums_at_once(quantiles: jax.Array, target: jax.Array, kappa: float) -> tuple[jax.Array, ...]:
    """Sums [N] of each of `_terms` over the targets."""
    terms = _terms(target[:, None] - quantiles[None, :], kappa)
    return tuple(jnp.sum(term, axis=0) for term in terms)


def sums_one_by_one(quantiles: jax.Array, target: jax.Array, kappa: float) -> tuple[jax.Array, ...]:
    """The same, for a CPU: the loop over a vector is several times as fast as the reduction."""

    def add(sums: Any, one: jax.Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, _terms(one - quantiles, kappa)), None

    zeros = (jnp.zeros_like(quantiles),) * 4
    sums: tuple[jax.Array, ...] = jax.lax.scan(add, zeros, target, unroll=8)[0]
    return sums
