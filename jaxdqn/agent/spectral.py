"""Spectral normalization: a kernel divided by its largest singular value (Miyato et al., 2018).

arXiv:1802.05957. An estimate of that singular vector is kept next to the parameters, in a separate
collection. Each update brings it closer by one step of the power method (`renewed`). So it is the
same for all who use the parameters, and evaluations leave it as it is.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp

COLLECTION = "spectral"
_STEPS_AT_FIRST = 15  # as in PyTorch; from a random vector the value would be far too small


def normalize(module: nn.Module, name: str, kernel: jax.Array) -> jax.Array:
    """A kernel [..., in, out] over its largest singular value, as a matrix [... * in, out].

    To be called within a module that has the parameter `name`; gradients flow as if the singular
    vectors did not depend on it.
    """

    def begin() -> jax.Array:
        vector = jax.random.normal(module.make_rng("params"), (kernel.shape[-1],))
        # A loop on the device: unrolled, it would be most of what is traced to begin a run.
        return jax.lax.fori_loop(0, _STEPS_AT_FIRST, lambda _, v: power_step(kernel, v), vector)

    vector = module.variable(COLLECTION, name, begin).value
    matrix = kernel.reshape(-1, kernel.shape[-1])
    return kernel / _length(matrix @ jax.lax.stop_gradient(_unit(vector)))


def renewed(variables: Any) -> Any:
    """Variables of a network after one step of the power method; the parameters are unchanged."""
    if not isinstance(variables, Mapping) or COLLECTION not in variables:
        return variables
    kernels = flax.traverse_util.flatten_dict(variables["params"])
    vectors = flax.traverse_util.flatten_dict(variables[COLLECTION])
    stepped = {path: power_step(kernels[path], vector) for path, vector in vectors.items()}
    return {**variables, COLLECTION: flax.traverse_util.unflatten_dict(stepped)}


def power_step(kernel: jax.Array, vector: jax.Array) -> jax.Array:
    """One step of the power method.

    Args:
      kernel: [..., in, out].
      vector: [out], an estimate of the right singular vector of its largest singular value.

    Returns:
      [out], a better estimate, of length 1.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])
    return _unit(matrix.T @ (matrix @ vector))


def _unit(vector: jax.Array) -> jax.Array:
    return vector / jnp.maximum(_length(vector), 1e-12)


def _length(vector: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(vector**2))
