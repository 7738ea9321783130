"""C51: probabilities of fixed returns, the atoms (Bellemare et al., arXiv:1707.06887)."""

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
    atoms = np.linspace(config.value_min, config.value_max, config.num_atoms, dtype=np.float32)
    return c51(atoms)


def c51(atoms: npt.NDArray[np.float32]) -> api.Head:
    """Builds a head.

    Args:
      atoms: [K] returns, evenly spaced and rising.
    """

    def values(outputs: api.Outputs) -> jax.Array:
        return distributions.expectation(outputs.raw, atoms)

    def loss(
        logits: jax.Array, _: None, r_t: jax.Array, discount_t: jax.Array, next_return: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        target = project(atoms, jax.nn.softmax(next_return), r_t, discount_t)
        return distributions.cross_entropy(logits, jax.lax.stop_gradient(target))

    return api.Head(
        num_outputs=len(atoms),
        values=values,
        loss=loss,
        distribution=lambda outputs: distributions.probabilities(outputs.raw, atoms),
        is_categorical=True,
    )


def project(
    atoms: npt.NDArray[np.float32], probabilities: jax.Array, r_t: jax.Array, discount_t: jax.Array
) -> jax.Array:
    """The distribution of r + discount * return, on the atoms again.

    An atom takes all of a return that meets it, and a share that falls linearly to 0 at a distance
    of one spacing. So no probability is lost. Returns beyond the atoms count as the outermost one.

    Args:
      atoms: [K] as for `c51`.
      probabilities: [K] of them.
      r_t: [] reward, summed over n steps if there are several.
      discount_t: [] gamma^n, or 0 where the game ended.

    Returns:
      [K], of the same sum.
    """
    chex.assert_rank([atoms, probabilities, r_t, discount_t], [1, 1, 0, 0])
    moved = jnp.clip(r_t + discount_t * atoms, atoms[0], atoms[-1])
    distance = jnp.abs(moved[None, :] - atoms[:, None]) / (atoms[1] - atoms[0])
    return jnp.sum(jnp.maximum(0, 1 - distance) * probabilities[None, :], axis=1)
