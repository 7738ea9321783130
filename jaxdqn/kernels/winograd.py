"""Winograd's minimal filtering F(2x2, 2x2), stride 1 (Lavin and Gray, arXiv:1509.09308).

Along one axis, of inputs d, kernel g and outputs y:

  y0 = d0 g0 + d1 g1 = (d0 - d1) g0 + d1 (g0 + g1)
  y1 = d1 g0 + d2 g1 = d1 (g0 + g1) + (d2 - d1) g1

This takes three products for two outputs instead of four; along both axes, nine for four outputs
instead of sixteen. The transforms only add and subtract, so float32 loses little precision.

Arrays are kept in grids, lists of lists: [along the height][along the width]. One array with two
more axes would first have to be assembled by copying.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Grid = list[list[jax.Array]]


def _spread(g: list[jax.Array]) -> list[jax.Array]:
    return [g[0], g[0] + g[1], g[1]]


# By (outputs of a tile, taps), along one axis.
_KERNELS: dict[tuple[int, int], Callable[[list[jax.Array]], list[jax.Array]]] = {
    (2, 2): _spread,
    (3, 2): lambda g: [g[0], (g[0] + g[1]) / 2, (g[0] - g[1]) / 2, g[1]],
    (2, 3): lambda g: [g[0], (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2, g[2]],
}


def multiply(product: Callable[[jax.Array, jax.Array], jax.Array], a: Grid, b: Grid) -> Grid:
    """Applies a product to the arrays of two grids, element by element."""
    return [[product(x, y) for x, y in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]


def inputs(x: jax.Array) -> Grid:
    """[B, H + 1, W + 1, C] -> 3 x 3 of [B, ceil(H / 2), ceil(W / 2), C]."""
    height, width = x.shape[1] // 2, x.shape[2] // 2
    x = resize(x, 2 * height + 1, 2 * width + 1)
    windows = [
        [x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2] for j in range(3)]
        for i in range(3)
    ]
    return _along_both(lambda d: [d[0] - d[1], d[1], d[2] - d[1]], windows)


def inputs_transposed(grid: Grid, height: int, width: int) -> jax.Array:
    """The transpose of `inputs`: 3 x 3 gradients -> [B, height, width, C]."""
    # The contributions of tile t to the gradients at 2t, 2t + 1 and 2t + 2.
    parts = _along_both(lambda d: [d[0], d[1] - d[0] - d[2], d[2]], grid)
    return resize(_overlap([_overlap(row, axis=2) for row in parts], axis=1), height, width)


def kernels(kernel: jax.Array, tile: int = 2) -> Grid:
    """[n, n, C, O] -> p x p of [C, O], p = tile + n - 1, for tiles of 2 x 2 or 3 x 3 outputs.

    Only the functions of `native_calls` use anything but tiles of 2 with windows of 2.
    """
    window = range(kernel.shape[0])
    return _along_both(
        _KERNELS[tile, len(window)], [[kernel[i, j] for j in window] for i in window]
    )


def kernels_transposed(grid: Grid) -> jax.Array:
    """The transpose of `kernels`: 3 x 3 gradients -> [2, 2, C, O]."""
    return jnp.stack([jnp.stack(row) for row in outputs(grid)])


def outputs(grid: Grid) -> Grid:
    """3 x 3 products -> the 2 x 2 outputs of every tile."""
    return _along_both(lambda m: [m[0] + m[1], m[1] + m[2]], grid)


def outputs_transposed(grid: Grid) -> Grid:
    """The transpose of `outputs`: 2 x 2 gradients -> 3 x 3."""
    return _along_both(_spread, grid)


def join(grid: Grid) -> jax.Array:
    """2 x 2 outputs of tiles [B, H, W, O] -> [B, 2 H, 2 W, O]."""
    batch, height, width, channels = grid[0][0].shape
    # Side by side they equal the result of space to depth with stride 2, so a next layer of that
    # stride can use them directly.
    y = jnp.concatenate([part for row in grid for part in row], -1)
    y = y.reshape(batch, height, width, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(batch, 2 * height, 2 * width, channels)


def split(y: jax.Array) -> Grid:
    """[B, H, W, O] -> 2 x 2 of [B, ceil(H / 2), ceil(W / 2), O], zeros beyond the end."""
    height, width = -(-y.shape[1] // 2), -(-y.shape[2] // 2)
    y = resize(y, 2 * height, 2 * width)
    y = y.reshape(y.shape[0], height, 2, width, 2, y.shape[3])
    return [[y[:, :, i, :, j] for j in range(2)] for i in range(2)]


def resize(x: jax.Array, height: int, width: int, axes: tuple[int, int] = (1, 2)) -> jax.Array:
    """Crops the height and the width (the axes in `axes`) at their end, or pads with zeros."""
    padding = [(0, 0, 0)] * x.ndim
    for axis, size in zip(axes, (height, width), strict=True):
        padding[axis] = (0, size - x.shape[axis], 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), padding)


def _along_both(function: Callable[[list[jax.Array]], list[jax.Array]], grid: Grid) -> Grid:
    rows = [function(row) for row in grid]
    columns = [function(list(column)) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _overlap(d: list[jax.Array], axis: int) -> jax.Array:
    """Adds up the contributions of tile t to the places 2t, 2t + 1 and 2t + 2."""
    ahead, behind = [(0, 0)] * 4, [(0, 0)] * 4
    ahead[axis], behind[axis] = (0, 1), (1, 0)
    even, odd = jnp.pad(d[0], ahead) + jnp.pad(d[2], behind), jnp.pad(d[1], ahead)
    both = jnp.stack([even, odd], axis + 1)
    return both.reshape(*even.shape[:axis], -1, *even.shape[axis + 1 :])
