"""Noisy layers: dense layers whose noise explores (Fortunato et al., arXiv:1706.10295).

The noise is factorised. Each observation has noise of its own, also within a batch: factors on the
inputs and on the outputs of a layer are as cheap for each as for all, where a matrix of weights for
each observation would not be.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike


class Noise(NamedTuple):
    """The factors f(e) of a layer's noise, for each of B observations."""

    inputs: jax.Array  # [B, in]
    outputs: jax.Array  # [B, out]


class NoisyDense(nn.Module):
    """A dense layer with weights mean + scale * f(e_out) f(e_in), f(x) = sign(x) sqrt(|x|).

    Means begin uniformly within 1 / sqrt(inputs), scales at `sigma` / sqrt(inputs).
    """

    features: int  # outputs
    sigma: float  # sigma_0 of the paper
    dtype: DTypeLike
    precision: jax.lax.Precision | None = None

    @nn.compact
    def __call__(self, x: jax.Array, noise: Noise | None) -> jax.Array:
        """[B, ..., in], noise or None for none -> [B, ..., features].

        Axes between the first and the last, as of the quantiles of IQN, share the noise.
        """
        inputs = x.shape[-1]
        bound = 1 / math.sqrt(inputs)

        def means(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

        scales = nn.initializers.constant(self.sigma * bound)
        kernel = self.param("kernel", means, (inputs, self.features))
        bias = self.param("bias", means, (self.features,))
        kernel_scale = self.param("kernel_scale", scales, (inputs, self.features))
        bias_scale = self.param("bias_scale", scales, (self.features,))
        mean = dense(x, kernel, bias, self.dtype, self.precision)
        if noise is None:
            return mean
        noise_in, noise_out = (
            factor.reshape(-1, *(1,) * (x.ndim - 2), factor.shape[-1]) for factor in noise
        )
        factored = x * noise_in.astype(x.dtype)
        scaled = dense(factored, kernel_scale, bias_scale, self.dtype, self.precision)
        return mean + noise_out.astype(self.dtype) * scaled


def dense(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    dtype: DTypeLike,
    precision: jax.lax.Precision | None = None,
) -> jax.Array:
    """[..., in], [in, out], [out] -> [..., out], computed in a type and with a precision."""
    y = jnp.matmul(x.astype(dtype), kernel.astype(dtype), precision=precision)
    return y + jnp.broadcast_to(bias.astype(dtype), y.shape)


def draw(keys: jax.Array, layers: Mapping[str, tuple[int, int]]) -> dict[str, Noise]:
    """Draws the noise of all layers at once: each draw of its own would take long to compile.

    Args:
      keys: one for each observation, [B].
      layers: inputs and outputs, by name.
    """
    sizes = [size for name in sorted(layers) for size in layers[name]]
    *starts, total = np.cumsum(sizes).tolist()
    normal = jax.vmap(lambda key: jax.random.normal(key, (total,)))(keys)
    factors = jnp.split(square_root(normal), starts, axis=1)
    return {name: Noise(*factors[2 * i : 2 * i + 2]) for i, name in enumerate(sorted(layers))}


def square_root(x: jax.Array) -> jax.Array:
    """f(x) = sign(x) sqrt(|x|), elementwise."""
    return jnp.sign(x) * jnp.sqrt(jnp.abs(x))


def statistics(params: Any) -> dict[str, jax.Array]:
    """`noise_scale`, the mean size of all scales of kernels; nothing where no layer is noisy."""
    scales = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if getattr(path[-1], "key", "") == "kernel_scale"
    ]
    if not scales:
        return {}
    return {"noise_scale": sum(jnp.sum(jnp.abs(x)) for x in scales) / sum(x.size for x in scales)}
