"""All that changes in a run."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxdqn.agent import actor, learner
from jaxdqn.envs import episodes
from jaxdqn.replay import ring as ring_lib
from jaxdqn.rundir import metrics
from jaxdqn.settings import config as config_lib


@dataclasses.dataclass
class Counters:
    """Where a run stands; saved with every checkpoint."""

    steps: int = 0  # agent steps; a game's first row is none
    updates: int = 0
    episodes: int = 0  # whole games
    time_s: float = 0.0  # of training, over all starts of the run


@dataclasses.dataclass
class RunState:
    """All that changes in a run. The loop rebinds the device's arrays, which it donates."""

    train_state: learner.TrainState
    sums: jax.Array  # [M + 1] sums of metrics since they were last read, and of updates
    actors: list[actor.ActorState]  # one for each group
    counters: Counters
    recent: episodes.RecentGames
    ring: ring_lib.RingState | None = None  # gigabytes: made when play begins
    rows: int = 0  # rows written to the ring
    ring_life: int = 0  # goes on where rows of the ring change after they were written
    turn_began: Counters = dataclasses.field(default_factory=Counters)  # the last one
    logged: Counters = dataclasses.field(default_factory=Counters)  # when metrics were last read
    refused: int = 0  # updates, as far as was seen
    fit: Any = None  # what learning has begun and not ended; see `sweeping.Fit`
    # Updates fall due from here on; a run that resumes without its replay fills it again first.
    learning_from_step: int = 0
    learning_from_update: int = 0
    just_ended: list[episodes.Game] = dataclasses.field(default_factory=list)  # in this turn
    turn_is_over: bool = True  # False while learning hands over between two turns


class NonFiniteError(Exception):
    """An update was refused, and the run is to stop.

    Args:
      batch: a tree of arrays, what the update learned from.
      metrics: of the update.
    """

    def __init__(self, batch: Any, metrics: Mapping[str, Any]):
        self.batch = batch
        self.quantities = {
            name: float(metrics[name]) for name in learner.METRICS if not np.isfinite(metrics[name])
        }
        super().__init__(", ".join(f"{name} is {x}" for name, x in self.quantities.items()))


# Learns what fell due since the counters given, in place. What takes long hands over now and then,
# with None or a row of metrics.
Learn = Callable[[RunState, Counters], Iterator[metrics.Row | None]]


def crossed(then: int, now: int, period: int) -> bool:
    """Whether a multiple of `period` lies in (then, now]; never for period 0."""
    return period > 0 and then // period != now // period


def note_refused(config: config_lib.Config, state: RunState, refused: int) -> bool:
    """Writes down how many updates were refused; returns whether the run is to stop for that."""
    is_new, state.refused = refused > state.refused, refused
    return is_new and config.on_nonfinite == "stop"
