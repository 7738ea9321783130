"""Valid 2-D convolutions as matrix products, which XLA runs near peak speed on CPUs.

XLA's own CPU convolutions are slow in their gradients and, inside `lax.scan`, slower
tenfold. Here a convolution of stride `s` becomes one of stride 1 by space to depth, and
that one a single matrix product, taken either

* of *patches*: gather every window of the input, then multiply `[rows, taps * C] x
  [taps * C, O]`; or
* *wide*: multiply the input by all taps at once, `[rows, C] x [C, taps * O]`, then add the
  shifted results, which moves less memory when there are fewer outputs than inputs.

Bytes travel four to a `uint32` until just before they meet the kernel.
"""

import functools
import operator
from typing import Literal

import jax
import jax.numpy as jnp

Implementation = Literal["matmul", "xla"]


def conv2d(
    x: jax.Array, kernel: jax.Array, stride: int, implementation: Implementation = "matmul"
) -> jax.Array:
    """Convolves without padding.

    Args:
      x: [B, H, W, C] floats, or bytes, which stand for the floats 0 to 255 and have no gradient.
      kernel: [kh, kw, C, O], of the type to compute in.
      stride: the step along both axes.
      implementation: 'matmul' for CPUs, 'xla' for everything else.

    Returns:
      [B, H', W', O], of the kernel's type.
    """
    if implementation == "xla":
        return _reference(x, kernel, stride)
    kernel, (rows, columns) = _pad_kernel(kernel, x.shape[1], x.shape[2], stride)
    x = _resize(x, rows * stride, columns * stride, axes=(1, 2))
    # A run along the width is contiguous in memory, so it moves as one piece, or as words.
    x = x.reshape(x.shape[0], rows, stride, columns, stride * x.shape[3])
    x = _pack(x).transpose(0, 1, 3, 2, 4)
    folded = kernel.reshape(_split(kernel, stride)).transpose(0, 2, 1, 3, 4, 5)
    return _conv(x.reshape(*x.shape[:3], -1), _merge(folded))


def conv2d_frames(
    frames: jax.Array, kernel: jax.Array, stride: int, implementation: Implementation = "matmul"
) -> jax.Array:
    """Convolves stacked images [B, C, H, W] to [B, H', W', O]; otherwise as `conv2d`."""
    if implementation == "xla":
        return _reference(frames.transpose(0, 2, 3, 1), kernel, stride)
    kernel, (rows, columns) = _pad_kernel(kernel, frames.shape[2], frames.shape[3], stride)
    x = _resize(frames, rows * stride, columns * stride, axes=(2, 3))
    x = x.reshape(*x.shape[:2], rows, stride, columns, stride)
    x = _pack(x).transpose(0, 2, 4, 1, 3, 5)
    folded = kernel.reshape(_split(kernel, stride)).transpose(0, 2, 4, 1, 3, 5)
    return _conv(x.reshape(*x.shape[:3], -1), _merge(folded))


def _reference(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x.astype(kernel.dtype),
        kernel,
        (stride, stride),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


# Space to depth


def _pad_kernel(
    kernel: jax.Array, height: int, width: int, stride: int
) -> tuple[jax.Array, tuple[int, int]]:
    """Pad the kernel to multiples of the stride; also the size of the folded input it needs."""
    taps = [-(-size // stride) for size in kernel.shape[:2]]
    rows = (height - kernel.shape[0]) // stride + taps[0]
    columns = (width - kernel.shape[1]) // stride + taps[1]
    return _resize(kernel, taps[0] * stride, taps[1] * stride, axes=(0, 1)), (rows, columns)


def _resize(x: jax.Array, height: int, width: int, axes: tuple[int, int]) -> jax.Array:
    """Crop two axes at their end, or pad them there with zeros."""
    padding = [(0, 0, 0)] * x.ndim
    for axis, size in zip(axes, (height, width), strict=True):
        padding[axis] = (0, size - x.shape[axis], 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), padding)


def _split(kernel: jax.Array, stride: int) -> tuple[int, ...]:
    height, width, *rest = kernel.shape
    return (height // stride, stride, width // stride, stride, *rest)


def _merge(kernel: jax.Array) -> jax.Array:
    return kernel.reshape(*kernel.shape[:2], -1, kernel.shape[-1])


def _pack(x: jax.Array) -> jax.Array:
    """Bytes as words of four where the last axis allows, for moving; the rest as it is."""
    if x.dtype != jnp.uint8 or x.shape[-1] % 4:
        return x
    return jax.lax.bitcast_convert_type(x.reshape(*x.shape[:-1], -1, 4), jnp.uint32)


def _unpack(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Floats from what `_pack` returned."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x
    x = jax.lax.optimization_barrier(x)  # move bytes or words first, then convert in one sweep
    if x.dtype == jnp.uint32:
        x = jax.lax.bitcast_convert_type(x, jnp.uint8).reshape(*x.shape[:-1], -1)
    return x.astype(dtype)


# Convolution with stride 1


@jax.custom_vjp
def _conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _conv_forward(x, kernel)[0]


def _conv_forward(
    x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    height, width, _, outputs = kernel.shape
    window, size = (height, width), (x.shape[1] - height + 1, x.shape[2] - width + 1)
    if not _is_wide(kernel):
        rows = _patches(_unpack(x, kernel.dtype), window)
        return rows @ kernel.reshape(-1, outputs), (x, rows, kernel)
    rows = _unpack(x, kernel.dtype)
    wide = rows @ kernel.transpose(2, 0, 1, 3).reshape(rows.shape[3], -1)
    parts = wide.reshape(*wide.shape[:3], height * width, outputs)
    y = [parts[:, i : i + size[0], j : j + size[1], n] for n, (i, j) in enumerate(_taps(window))]
    return functools.reduce(operator.add, y), (x, rows, kernel)


def _conv_backward(
    residuals: tuple[jax.Array, jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array | None, jax.Array]:
    x, rows, kernel = residuals
    height, width, inputs, outputs = kernel.shape
    if _is_wide(kernel):
        shifted = jnp.concatenate([_place(dy, kernel, tap) for tap in _taps((height, width))], -1)
        dkernel = _weight_gradient(rows, shifted).reshape(inputs, height, width, outputs)
        dkernel = dkernel.transpose(1, 2, 0, 3)
    else:
        dkernel = _weight_gradient(rows, dy).reshape(kernel.shape)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return None, dkernel
    parts = (dy @ kernel.reshape(-1, outputs).T).reshape(*dy.shape[:3], -1, inputs)
    dx = [_place(parts[..., n, :], kernel, tap) for n, tap in enumerate(_taps((height, width)))]
    return functools.reduce(operator.add, dx), dkernel


_conv.defvjp(_conv_forward, _conv_backward)


def _is_wide(kernel: jax.Array) -> bool:
    return kernel.shape[3] < kernel.shape[2]


def _taps(window: tuple[int, int]) -> list[tuple[int, int]]:
    return [(i, j) for i in range(window[0]) for j in range(window[1])]


def _patches(x: jax.Array, window: tuple[int, int]) -> jax.Array:
    """The windows of the input, `[B, H', W', kh * kw * C]`."""
    height, width = x.shape[1] - window[0] + 1, x.shape[2] - window[1] + 1
    return jnp.concatenate([x[:, i : i + height, j : j + width] for i, j in _taps(window)], -1)


def _place(y: jax.Array, kernel: jax.Array, tap: tuple[int, int]) -> jax.Array:
    """What is read at `tap` of each window, put back where it came from."""
    after = kernel.shape[0] - 1 - tap[0], kernel.shape[1] - 1 - tap[1]
    return jnp.pad(y, ((0, 0), (tap[0], after[0]), (tap[1], after[1]), (0, 0)))


def _weight_gradient(rows: jax.Array, dy: jax.Array) -> jax.Array:
    """`rows.T @ dy`, with the narrower of the two first, which is faster."""
    rows, dy = rows.reshape(-1, rows.shape[-1]), dy.reshape(-1, dy.shape[-1])
    if rows.shape[1] <= dy.shape[1]:
        return rows.T @ dy
    return jax.lax.optimization_barrier(dy.T @ rows).T  # without it XLA would swap them back
