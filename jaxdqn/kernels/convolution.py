"""Valid 2-D convolutions, with or without ReLU, for CPUs in C++ or as matrix products of XLA.

XLA's own CPU convolutions have slow gradients and are ten times slower inside `lax.scan`. The C++
functions of `native_calls` are the fastest. If they are missing, or do not support a size, XLA
multiplies matrices: a convolution of stride `s` becomes one of stride 1 by space to
depth. If its window is then 2 x 2, as where a window is twice the stride, minimal filtering
(`winograd`) saves 7 of 16 products. Any other window becomes one product of *patches*: every window
of the input, `[rows, taps * C] x [taps * C, O]`.

Bytes travel four to a `uint32` until just before they are multiplied.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxdqn.kernels import native_calls, winograd

Implementation = Literal["native", "matmul", "xla"]


def conv2d(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    stride: int,
    implementation: Implementation,
    *,
    relu: bool = True,
) -> jax.Array:
    """Convolves without padding, adds a bias and applies ReLU.

    Args:
      x: [B, H, W, C] floats, or bytes, which stand for the floats 0 to 255 and have no gradient.
      kernel: [kh, kw, C, O], of the type to compute in.
      bias: [O], of that type.
      stride: the step along both axes.
      implementation: for CPUs 'native', which uses 'matmul' where it does not fit, or 'matmul';
        'xla' for everything else.
      relu: apply it, without which 'native' does not fit.

    Returns:
      [B, H', W', O], of the kernel's type.
    """
    if implementation == "xla":
        return _reference(x, kernel, bias, stride, relu)
    x = _bytes_or_floats(x, kernel.dtype)
    kernel, (rows, columns) = _pad_kernel(kernel, x.shape[1], x.shape[2], stride)
    x = winograd.resize(x, rows * stride, columns * stride, axes=(1, 2))
    folded = _merge(kernel.reshape(_split(kernel, stride)).transpose(0, 2, 1, 3, 4, 5))
    if (
        implementation == "native"
        and relu
        and x.dtype == jnp.float32
        and native_calls.fits(x, folded, stride)
    ):
        return native_calls.conv2d_relu(x, folded, bias, stride)
    # Adjacent bytes move as words. Floats keep their axes, so that this undoes the interleaving of
    # the layer before and costs nothing.
    inner = (stride * x.shape[3],) if x.dtype == jnp.uint8 else (stride, x.shape[3])
    x = _pack(x.reshape(x.shape[0], rows, stride, columns, *inner))
    x = x.transpose(0, 1, 3, 2, *range(4, x.ndim))
    return _layer(relu, x.reshape(*x.shape[:3], -1), folded, bias)


def conv2d_frames(
    frames: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    stride: int,
    implementation: Implementation,
    *,
    relu: bool = True,
) -> jax.Array:
    """Convolves stacked images [B, C, H, W] to [B, H', W', O]; otherwise as `conv2d`."""
    if implementation == "xla":
        return _reference(frames.transpose(0, 2, 3, 1), kernel, bias, stride, relu)
    frames = _bytes_or_floats(frames, kernel.dtype)
    kernel, (rows, columns) = _pad_kernel(kernel, frames.shape[2], frames.shape[3], stride)
    x = winograd.resize(frames, rows * stride, columns * stride, axes=(2, 3))
    folded = _merge(kernel.reshape(_split(kernel, stride)).transpose(0, 2, 4, 1, 3, 5))
    is_native = implementation == "native" and relu and x.dtype == jnp.uint8
    if is_native and native_calls.fits(x, folded, stride):
        return native_calls.conv2d_relu(x, folded, bias, stride)
    x = x.reshape(*x.shape[:2], rows, stride, columns, stride)
    x = _pack(x).transpose(0, 2, 4, 1, 3, 5)
    return _layer(relu, x.reshape(*x.shape[:3], -1), folded, bias)


def _bytes_or_floats(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Images as they are, or as floats where they are other integers: words stand for bytes."""
    if x.dtype == jnp.uint8 or jnp.issubdtype(x.dtype, jnp.floating):
        return x
    return x.astype(dtype)


def _reference(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, stride: int, relu: bool
) -> jax.Array:
    y = jax.lax.conv_general_dilated(
        x.astype(kernel.dtype),
        kernel,
        (stride, stride),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return _activated(y + bias.reshape(1, 1, 1, -1), relu)


def _activated(y: jax.Array, relu: bool) -> jax.Array:
    return jax.nn.relu(y) if relu else y


# Space to depth


def _pad_kernel(
    kernel: jax.Array, height: int, width: int, stride: int
) -> tuple[jax.Array, tuple[int, int]]:
    """Pad the kernel to multiples of the stride; also the size of the folded input it needs."""
    taps = [-(-size // stride) for size in kernel.shape[:2]]
    rows = (height - kernel.shape[0]) // stride + taps[0]
    columns = (width - kernel.shape[1]) // stride + taps[1]
    return winograd.resize(kernel, taps[0] * stride, taps[1] * stride, axes=(0, 1)), (rows, columns)


def _split(kernel: jax.Array, stride: int) -> tuple[int, ...]:
    height, width, *rest = kernel.shape
    return (height // stride, stride, width // stride, stride, *rest)


def _merge(kernel: jax.Array) -> jax.Array:
    return kernel.reshape(*kernel.shape[:2], -1, kernel.shape[-1])


def _pack(x: jax.Array) -> jax.Array:
    """Packs bytes into words of four for moving, if the last axis allows; the rest as it is."""
    if x.dtype != jnp.uint8 or x.shape[-1] % 4:
        return x
    return jax.lax.bitcast_convert_type(x.reshape(*x.shape[:-1], -1, 4), jnp.uint32)


def _unpack(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Converts what `_pack` returned to floats."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x
    x = jax.lax.optimization_barrier(x)  # move bytes or words first, then convert in one sweep
    if x.dtype == jnp.uint32:
        x = jax.lax.bitcast_convert_type(x, jnp.uint8).reshape(*x.shape[:-1], -1)
    return x.astype(dtype)


# A layer with stride 1: convolution, bias, perhaps ReLU


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _layer(relu: bool, x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return _layer_forward(relu, x, kernel, bias)[0]


def _layer_forward(
    relu: bool, x: jax.Array, kernel: jax.Array, bias: jax.Array
) -> tuple[jax.Array, Any]:
    rows, bias = _unpack(x, kernel.dtype), bias.reshape(1, 1, 1, -1)
    if not _is_minimal(kernel):
        patches = _patches(rows, kernel.shape[:2])
        y = _activated(patches @ _matrix(kernel) + bias, relu)
        # Networks without ReLU here have many layers: patches of all would need gigabytes.
        return y, (x, patches if relu else None, kernel, y if relu else None)
    inputs = winograd.inputs(rows)
    products = winograd.multiply(jnp.matmul, inputs, winograd.kernels(kernel))
    outputs = winograd.outputs(products)
    parts = [[_activated(part + bias, relu) for part in row] for row in outputs]
    y = winograd.join(parts)[:, : rows.shape[1] - 1, : rows.shape[2] - 1]
    return y, (x, inputs, kernel, y if relu else None)


def _layer_backward(relu: bool, residuals: Any, dy: jax.Array) -> tuple[jax.Array | None, ...]:
    x, inputs, kernel, y = residuals
    if relu:
        dy = jnp.where(y > 0, dy, 0)
    dbias, dx = dy.sum((0, 1, 2)), None
    needs_dx = jnp.issubdtype(x.dtype, jnp.floating)
    if not _is_minimal(kernel):
        if inputs is None:  # the barrier keeps XLA from keeping those of the forward pass
            rows = _unpack(jax.lax.optimization_barrier(x), kernel.dtype)
            inputs = _patches(rows, kernel.shape[:2])
        dkernel = _weight_gradient(inputs, dy).reshape(kernel.shape)
        if needs_dx:
            dpatches = (dy @ _matrix(kernel).T).reshape(*dy.shape[:3], -1, x.shape[3])
            dx = _patches_transposed(dpatches, kernel.shape[:2])
        return dx, dkernel, dbias
    dproducts = winograd.outputs_transposed(winograd.split(dy))
    dkernels = winograd.multiply(_weight_gradient, inputs, dproducts)
    if needs_dx:
        dinputs = winograd.multiply(lambda d, k: d @ k.T, dproducts, winograd.kernels(kernel))
        dx = winograd.inputs_transposed(dinputs, x.shape[1], x.shape[2])
    return dx, winograd.kernels_transposed(dkernels), dbias


_layer.defvjp(_layer_forward, _layer_backward)


def _is_minimal(kernel: jax.Array) -> bool:
    return kernel.shape[:2] == (2, 2)


def _weight_gradient(rows: jax.Array, dy: jax.Array) -> jax.Array:
    """`rows.T @ dy`, with the narrower of the two first, which is faster."""
    rows, dy = rows.reshape(-1, rows.shape[-1]), dy.reshape(-1, dy.shape[-1])
    if rows.shape[1] <= dy.shape[1]:
        return rows.T @ dy
    return jax.lax.optimization_barrier(dy.T @ rows).T  # without it XLA would swap them back


# Patches


def _matrix(kernel: jax.Array) -> jax.Array:
    return kernel.reshape(-1, kernel.shape[-1])


def _taps(window: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(i, j) for i in range(window[0]) for j in range(window[1])]


def _patches(x: jax.Array, window: tuple[int, ...]) -> jax.Array:
    """The windows of the input, [B, H', W', kh * kw * C]."""
    height, width = x.shape[1] - window[0] + 1, x.shape[2] - window[1] + 1
    return jnp.concatenate([x[:, i : i + height, j : j + width] for i, j in _taps(window)], -1)


def _patches_transposed(patches: jax.Array, window: tuple[int, ...]) -> jax.Array:
    """Windows [B, H', W', kh * kw, C], added up where they were read."""
    height, width = window
    parts = [
        jnp.pad(patches[..., n, :], ((0, 0), (i, height - 1 - i), (j, width - 1 - j), (0, 0)))
        for n, (i, j) in enumerate(_taps(window))
    ]
    return sum(parts[1:], parts[0])
