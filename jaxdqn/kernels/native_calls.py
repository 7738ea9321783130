"""Convolutions with ReLU by the C++ functions in `cpp`, for CPUs.

A program that calls them can be compiled once `native_library` has built and registered them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdqn.kernels import winograd

FORWARD, BACKWARD = TARGETS = ("jaxdqn_convolution_forward", "jaxdqn_convolution_backward")
_IMAGES_PER_PART = 4  # whose gradients one thread adds up; as in convolution.cc


def fits(x: jax.Array, kernel: jax.Array, stride: int) -> bool:
    """Whether the functions support a convolution; `conv2d_relu` says what they support."""
    window, depth, outputs = kernel.shape[:2], kernel.shape[2], kernel.shape[3]
    return (
        kernel.dtype == jnp.float32
        and window in ((2, 2), (3, 3))
        and (depth % 16 == 0 and stride == 4 if x.dtype == jnp.uint8 else depth % 32 == 0)
        and outputs % 32 == 0
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def conv2d_relu(x: jax.Array, kernel: jax.Array, bias: jax.Array, stride: int) -> jax.Array:
    """Convolves x after space to depth, adds a bias and applies ReLU.

    Args:
      x: [B, H, W, C] float32; or [B, C, H, W] bytes, which stand for the floats 0 to 255 and have
        no gradient. H and W are multiples of the stride.
      kernel: [n, n, K, O] float32, K = C * stride * stride inputs in the order row, column, C for
        floats, and C, row, column for bytes.
      bias: [O] float32.
      stride: the step along both axes; 4 for bytes.

    Returns:
      [B, H / stride - n + 1, W / stride - n + 1, O] float32.
    """
    return _forward(x, kernel, bias, stride)[0]


def _forward(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, stride: int
) -> tuple[jax.Array, Any]:
    window, outputs = kernel.shape[0], kernel.shape[-1]
    size = x.shape[2:] if x.dtype == jnp.uint8 else x.shape[1:3]
    height, width = (length // stride - window + 1 for length in size)
    tile = _tile(height, width, window)
    result = jax.ShapeDtypeStruct((x.shape[0], height, width, outputs), jnp.float32)
    call = jax.ffi.ffi_call(FORWARD, result, vmap_method="sequential")
    y: jax.Array = call(x, _filters(kernel, tile), bias, **_attributes(stride, window, tile))
    return y, (x, kernel, bias, y)


def _backward(stride: int, residuals: Any, dy: jax.Array) -> tuple[jax.Array | None, ...]:
    x, kernel, bias, y = residuals
    window, is_bytes = kernel.shape[0], x.dtype == jnp.uint8
    tile = _tile(y.shape[1], y.shape[2], window)
    filters, to_kernel = jax.vjp(lambda kernel: _filters(kernel, tile), kernel)
    sums = (-(-len(x) // _IMAGES_PER_PART), filters.size + bias.size)
    shapes = [filters.shape, bias.shape, (0,) if is_bytes else x.shape, sums]
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    call = jax.ffi.ffi_call(BACKWARD, results, vmap_method="sequential")
    dfilters, dbias, dx, _ = call(
        x, filters.transpose(0, 2, 1), y, dy, **_attributes(stride, window, tile)
    )
    return None if is_bytes else dx, to_kernel(dfilters)[0], dbias


conv2d_relu.defvjp(_forward, _backward)


def _tile(height: int, width: int, window: int) -> int:
    """The outputs of a tile along an axis that need the fewest products."""
    if window == 3:
        return 2  # larger tiles lose precision
    return min(2, 3, key=lambda m: -(-height // m) * -(-width // m) * (m + window - 1) ** 2)


def _filters(kernel: jax.Array, tile: int) -> jax.Array:
    """[n, n, K, O] -> [(tile + n - 1) ** 2, K, O]."""
    return jnp.stack([part for row in winograd.kernels(kernel, tile) for part in row])


def _attributes(stride: int, window: int, tile: int) -> dict[str, np.int64]:
    return {"stride": np.int64(stride), "taps": np.int64(window), "tile": np.int64(tile)}
