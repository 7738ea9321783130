"""Films and sheets of frames of a saved agent's play."""

import contextlib
import itertools
import math
import pathlib
import tempfile
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from PIL import Image

from jaxdqn.envs import api
from jaxdqn.playing import drawing, return_distributions, video_encoder
from jaxdqn.playing import moments as moments_lib
from jaxdqn.rundir import trained_agent
from jaxdqn.settings import config as config_lib
from jaxdqn.storage import atomic_files

_ROWS = 6  # of a sheet
LONGEST_S = 300  # of a film that somebody or something waits for


def record(
    agent: trained_agent.SavedAgent,
    *,
    out: pathlib.Path | None,
    sheet: pathlib.Path | None,
    with_overlay: bool,
    seed: int,
    num_episodes: int,
    longest_s: float = math.inf,
) -> str:
    """Plays whole games and writes what was seen.

    Args:
      agent: plays under the conditions of its settings.
      out: the film; None for none.
      sheet: raw and processed frames of some moments of the first game; None for none.
      with_overlay: also show the network's view, and the distribution of returns where its head
        knows one.
      seed: of the environment.
      num_episodes: games.
      longest_s: seconds of play, at most.

    Returns:
      What was written, one line for each file.

    Raises:
      RunError: a file cannot be written, or the environment has no picture to show.
    """
    config, spec = agent.config, agent.spec
    names, rate = spec.actions, spec.steps_per_second
    returns: list[float] = []
    chosen, frames = _Spread(10 * _ROWS), 0
    expect = return_distributions.of_agent(config, spec, agent.params) if with_overlay else None

    def draw(moment: moments_lib.Moment) -> Image.Image:
        if not with_overlay:
            return drawing.screen(moment)
        return drawing.overlay(moment, names, expect(moment.stack) if expect else None)

    with contextlib.ExitStack() as stack:
        add = stack.enter_context(video_encoder.writer(out, rate)) if out else None
        moments = moments_lib.play(
            config, spec, agent.params, seed=seed, num_episodes=num_episodes, with_screen=True
        )
        for moment in stack.enter_context(contextlib.closing(moments)):
            if frames >= longest_s * rate:
                break
            if add:
                add(np.asarray(draw(moment)))
            frames += 1
            if not returns:
                chosen.add(moment)
            if moment.is_last:
                returns.append(moment.game_return)
    lines = []
    if out:
        lines.append(
            f"{out}: {frames / rate:.0f} s at {rate:g} frames per second, "
            f"return {', '.join(f'{value:g}' for value in returns)}"
        )
    if sheet:
        with atomic_files.whole(sheet) as part:
            drawing.sheet(chosen.evenly(_ROWS)).save(part)
        lines.append(f"{sheet}: raw and processed frames")
    return "\n".join(lines)


def record_in_training(
    config: config_lib.Config,
    spec: api.EnvSpec,
    params: Any,
    path: pathlib.Path,
    *,
    seed: int,
    watched: Callable[[api.DrawnEnv], api.DrawnEnv],
    show: Callable[[bytes, int, int], None],
) -> Generator[None, None, None]:
    """Films one game, or its first five minutes, during training.

    It yields before every step. If it is closed before its end, it leaves no film.

    Args:
      config: of the run; it also sets the share of random actions.
      spec: of its environment.
      params: of the network.
      path: the film, enlarged.
      seed: of the environment.
      watched: receives the environment and returns the one to play.
      show: receives the film as a GIF of the screen's own size, its height and its width.

    Raises:
      RunError: the film cannot be written, or the environment has no picture to show.
    """
    rate = spec.steps_per_second
    moments = moments_lib.play(
        config, spec, params, seed=seed, num_episodes=1, with_screen=True, watched=watched
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        video_encoder.writer(path, rate) as add,
        contextlib.closing(moments),
    ):
        small = pathlib.Path(folder) / "play.gif"
        with video_encoder.writer(small, rate) as add_small:
            for moment in itertools.islice(moments, int(LONGEST_S * rate)):
                yield
                add(np.asarray(drawing.screen(moment)))
                add_small(moment.screen)
        show(small.read_bytes(), *moment.screen.shape[:2])


class _Spread:
    """Keeps up to `limit` moments, evenly spread over all that are added."""

    def __init__(self, limit: int):
        self.kept: list[moments_lib.Moment] = []
        self._limit, self._stride, self._count = limit, 1, 0

    def add(self, moment: moments_lib.Moment) -> None:
        """Adds the next moment."""
        if self._count % self._stride == 0:
            self.kept.append(moment)
        if len(self.kept) > self._limit:
            self.kept, self._stride = self.kept[::2], 2 * self._stride
        self._count += 1

    def evenly(self, count: int) -> list[moments_lib.Moment]:
        """At most `count` of them, from the first to the last."""
        where = np.linspace(0, len(self.kept) - 1, min(count, len(self.kept)))
        return [self.kept[round(i)] for i in where]
