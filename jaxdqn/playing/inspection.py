"""Draws what a network does: filters, their outputs, where it looks, and notable states."""

import csv
import itertools
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxdqn.agent.encoders import api as encoders
from jaxdqn.assembly import parts
from jaxdqn.playing import drawing, return_distributions
from jaxdqn.playing import moments as moments_lib
from jaxdqn.rundir import trained_agent
from jaxdqn.storage import atomic_files

_LONGEST_STEPS = 5_000


def inspect(agent: trained_agent.SavedAgent, out: pathlib.Path, *, seed: int) -> list[str]:
    """Plays a game and draws; the folder appears when everything is complete.

    Args:
      agent: whose network is drawn; its settings are the conditions of play.
      out: the folder to create.
      seed: of the game.

    Returns:
      The names of the files.

    Raises:
      RunError: a file cannot be written, or the environment has no picture to show.
    """
    moments = moments_lib.play(
        agent.config, agent.spec, agent.params, seed=seed, num_episodes=1, with_screen=True
    )
    noted = of_note(itertools.islice(moments, _LONGEST_STEPS))
    moments.close()
    names = agent.spec.actions
    with atomic_files.whole_folder(out) as part:
        for name, picture in _pictures(agent, noted, names):
            picture.save(part / f"{name}.png")
        with (part / "q_values.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["state", "step", "return", "action", *names])
            for what, moment in noted.items():
                row = [what, moment.length, moment.game_return, names[moment.action]]
                table.writerow([*row, *(f"{q:.6g}" for q in moment.q_values)])
    return sorted(path.name for path in out.iterdir())


def may_be_replaced(path: pathlib.Path) -> bool:
    """Whether a folder holds only an inspection."""
    ours = re.compile(
        r"q_values\.csv|states\.png|saliency\.png|(filters|outputs)_(conv|stack)_\d+\.png"
    )
    names = [part.name for part in path.iterdir()] if path.is_dir() else []
    return "q_values.csv" in names and all(map(ours.fullmatch, names))


def of_note(moments: Iterable[moments_lib.Moment]) -> dict[str, moments_lib.Moment]:
    """The most telling moments of a game, by what is notable about them.

    Moments with values that are not finite, and the end of a game, where no action matters any
    more, count only if there are no others.
    """
    noted: dict[str, moments_lib.Moment] = {}

    def note(what: str, moment: moments_lib.Moment, value: float) -> None:
        rank = np.isfinite(value), not moment.is_last, value
        if what not in noted or rank > ranks[what]:
            noted[what], ranks[what] = moment, rank

    ranks: dict[str, tuple[bool, bool, float]] = {}
    for moment in moments:
        q_values = moment.q_values.astype(np.float64)
        is_finite = np.isfinite(q_values).all()
        spread = float(np.ptp(q_values)) if is_finite else np.nan
        note("highest action value", moment, q_values.max() if is_finite else -np.inf)
        note("greatest spread of action values", moment, spread if is_finite else -np.inf)
        note("smallest spread of action values", moment, -spread if is_finite else -np.inf)
        if moment.life_lost:
            noted.setdefault("a life lost", moment)
    return noted


def saliency(agent: trained_agent.SavedAgent, stack: np.ndarray) -> np.ndarray:
    """How strongly each pixel affects the largest action value: the gradient's absolute value.

    Simonyan et al. (arXiv:1312.6034); Wang et al. (arXiv:1511.06581) use it for Q-networks.

    Args:
      agent: whose network.
      stack: [S, *frame_shape], bytes or other numbers.

    Returns:
      Of the same shape, float32, 1 at the largest; 0 where the gradient is not a number.
    """
    network = parts.make_network(agent.config, agent.spec)

    def largest(pixels: jax.Array) -> jax.Array:
        return network.q_values(agent.params, pixels[None]).max()

    pixels = jnp.asarray(stack)
    scale = encoders.pixel_scale(pixels, agent.config.scale_pixels)
    # Scaled here, because the network uses floats as they are.
    gradient = np.abs(jax.grad(largest)(pixels.astype(jnp.float32) * scale))
    gradient = np.nan_to_num(gradient)
    return np.asarray(gradient / max(gradient.max(), np.finfo(np.float32).tiny))


def _pictures(
    agent: trained_agent.SavedAgent, noted: Mapping[str, moments_lib.Moment], names: tuple[str, ...]
) -> Iterable[tuple[str, Image.Image]]:
    """The names and pictures of everything that is drawn."""
    expect = return_distributions.of_agent(agent.config, agent.spec, agent.params)
    states = {
        what: drawing.overlay(m, names, expect(m.stack) if expect else None)
        for what, m in noted.items()
    }
    yield "states", drawing.titled(states)
    moment = noted["greatest spread of action values"]
    network = parts.make_network(agent.config, agent.spec)
    outputs = network.feature_maps(agent.params, jnp.asarray(moment.stack[None]))
    torso: Mapping[str, Any] = agent.params["params"].get("torso", {})
    for name, output in outputs.items():
        kernel = np.asarray(torso[f"{name}_kernel"])  # [h, w, in, out]
        yield f"filters_{name}", drawing.tiles(kernel.transpose(3, 2, 0, 1), signed=True)
        channels = np.asarray(output[0], np.float32).transpose(2, 0, 1)  # [C, H, W]
        yield f"outputs_{name}", drawing.tiles(_grid(channels), signed=False)
    if outputs:
        yield (
            "saliency",
            drawing.titled(
                {
                    what: drawing.salient(m.stack, saliency(agent, m.stack))
                    for what, m in noted.items()
                }
            ),
        )


def _grid(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W] in rows and columns, [R, C, H, W] with R * C >= N; unused places are NaN."""
    columns = 2 ** int(np.ceil(np.log2(len(images)) / 2))
    missing = -len(images) % columns
    padded = np.pad(images, ((0, missing), (0, 0), (0, 0)), constant_values=np.nan)
    return padded.reshape(-1, columns, *images.shape[1:])
