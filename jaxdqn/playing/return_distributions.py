"""The distribution of returns that an agent expects of each action, where its head knows one."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image, ImageDraw

from jaxdqn.assembly import parts
from jaxdqn.envs import api
from jaxdqn.playing import style
from jaxdqn.settings import config as config_lib

WIDTH = 320  # pixels of a panel
_BINS = 64
_TAIL = 0.005  # probability that is left out at either end


class Returns(NamedTuple):
    """What is expected in one state."""

    values: np.ndarray  # [A, K] returns
    probabilities: np.ndarray  # [A, K] of each, with sum 1


def of_agent(
    config: config_lib.Config, spec: api.EnvSpec, params: Any
) -> Callable[[np.ndarray], Returns] | None:
    """The function from what a network sees, [S, *seen_shape], to the returns that it expects.

    Returns:
      None if the head knows no distribution.
    """
    head, network = parts.make_head(config), parts.make_network(config, spec)
    distribution = head.distribution
    if distribution is None:
        return None

    @jax.jit
    def expected(params: Any, stack: jax.Array) -> tuple[jax.Array, jax.Array]:
        outputs = network.outputs(params, stack[None])
        return distribution(jax.tree.map(lambda leaf: leaf[0], outputs))

    return lambda stack: Returns(*jax.device_get(expected(params, jax.device_put(stack))))


def densities(returns: Returns) -> tuple[np.ndarray, float, float]:
    """Histograms of the returns of all actions over one range.

    Returns:
      Shares [A, bins], of sum 1 but for what is left out; and the ends of the range.
    """
    flat = np.nan_to_num(returns.values.astype(np.float64), posinf=0, neginf=0)
    weights = np.nan_to_num(returns.probabilities.astype(np.float64))
    order = np.argsort(flat, axis=None)
    below = np.cumsum(weights.ravel()[order])
    total = max(below[-1], 1e-12)
    ends = np.searchsorted(below / total, (_TAIL, 1 - _TAIL)).clip(max=len(order) - 1)
    low, high = flat.ravel()[order][ends]
    bins, margin = _BINS, 0.05 * (high - low)
    spacings = np.diff(np.unique(flat[(flat >= low) & (flat <= high)]))
    if 0 < len(spacings) < _BINS and np.allclose(spacings, spacings[0]):  # a bin for each atom
        bins, margin = len(spacings) + 1, spacings[0] / 2
    margin = max(margin, 1e-6 * max(1.0, abs(low), abs(high)))
    low, high = float(low - margin), float(high + margin)
    found = [
        np.histogram(values, bins=bins, range=(low, high), weights=probabilities)[0]
        for values, probabilities in zip(flat, weights, strict=True)
    ]
    return np.stack(found), low, high


def panel(
    returns: Returns, q_values: np.ndarray, action: int, names: Sequence[str], height: int
) -> Image.Image:
    """A histogram for each action, one below the other, with a line at its mean.

    Args:
      returns: of all actions.
      q_values: [A] their means.
      action: the one taken, which is colored.
      names: of the actions.
      height: of the picture, in pixels.
    """
    picture = Image.new("RGB", (WIDTH, height), style.BACKGROUND)
    draw, gap = ImageDraw.Draw(picture), style.GAP
    shares, low, high = densities(returns)
    draw.text((gap, gap), "distribution of returns", style.DIM, style.font(13))
    top, bottom = gap + 22, height - gap - 20
    row = (bottom - top) / len(names)
    font = style.font(int(max(8, min(13, row - 2))))
    left = gap + max(draw.textlength(name, font) for name in names) + gap
    column = (WIDTH - gap - left) / shares.shape[1]
    largest = max(float(shares.max()), 1e-12)
    for i, name in enumerate(names):
        base, colour = top + (i + 1) * row - 2, style.TAKEN if i == action else style.BAR
        draw.text((gap, base - row / 2 - 7), name, colour if i == action else style.TEXT, font)
        for j, share in enumerate(shares[i]):
            x, rise = left + j * column, (row - 4) * share / largest
            if rise > 0:
                draw.rectangle((x, base - max(rise, 1), x + max(column - 1, 1), base), colour)
        if np.isfinite(q_values[i]):
            where = left + (WIDTH - gap - left) * (float(q_values[i]) - low) / (high - low)
            if left <= where <= WIDTH - gap:
                draw.line((where, base - row + 4, where, base), style.TEXT)
    draw.text((left, bottom + 4), f"{low:.3g}", style.DIM, style.font(13))
    draw.text((WIDTH - gap, bottom + 4), f"{high:.3g}", style.DIM, style.font(13), anchor="ra")
    return picture
