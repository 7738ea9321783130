"""All that changes in a run, and how each part of it is saved."""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdqn.agent import actor, learner
from jaxdqn.envs import episodes
from jaxdqn.replay import ring as ring_lib
from jaxdqn.settings import config as config_lib


class Where(enum.Enum):
    """The part of a checkpoint that holds a field."""

    LEARNER = enum.auto()  # alone: agents are loaded from it
    ARRAYS = enum.auto()  # of the devices
    NUMBERS = enum.auto()  # JSON
    REPLAY = enum.auto()  # blocks of rows, in a folder of their own
    ALGORITHM = enum.auto()  # as the algorithm says
    NOWHERE = enum.auto()  # it follows from other fields


class Saved(NamedTuple):
    """How a field is saved."""

    where: Where
    encode: Callable[[Any], Any] = lambda value: value  # to JSON, or to a tree of arrays
    decode: Callable[[Any], Any] = lambda stored: stored


def _saved(how: Saved | Where) -> dict[str, Saved]:
    """Metadata of a field: how it is saved."""
    return {"saved": how if isinstance(how, Saved) else Saved(how)}


@dataclasses.dataclass
class Counters:
    """The progress of a run; saved with every checkpoint."""

    steps: int = 0  # agent steps; a game's first row does not count
    updates: int = 0
    episodes: int = 0  # whole games
    time_s: float = 0.0  # training time, over all starts of the run
    wall_time_s: float = 0.0  # with start-up, evaluations, checkpoints and films


def _counters(stored: Mapping[str, Any]) -> Counters:
    names = [each.name for each in dataclasses.fields(Counters)]
    # Runs of versions that did not measure wall-clock time have trained as long at least.
    stored = {"wall_time_s": stored["time_s"], **stored}
    return Counters(**{name: stored[name] for name in names})


# The names in the file are older than those here.
_ON_DISK = {"explorer": "repeat"}


def _encode_learner(state: learner.TrainState) -> learner.TrainState:
    return state.replace(key=jax.random.wrap_key_data(state.key))


def _decode_learner(stored: learner.TrainState) -> learner.TrainState:
    return stored.replace(key=jax.random.key_data(stored.key))


def _encode_actors(actors: list[actor.ActorState]) -> list[dict[str, Any]]:
    return [
        {_ON_DISK.get(name, name): value for name, value in vars(state).items()}
        | {"key": jax.random.wrap_key_data(state.key)}
        for state in actors
    ]


def _decode_actors(stored: list[Mapping[str, Any]]) -> list[actor.ActorState]:
    names = [each.name for each in dataclasses.fields(actor.ActorState)]
    return [
        actor.ActorState(
            **{name: each[_ON_DISK.get(name, name)] for name in names}
            | {"key": jax.random.key_data(each["key"])}
        )
        for each in stored
    ]


_COUNTERS = Saved(Where.NUMBERS, dataclasses.asdict, _counters)
# Checkpoints hold keys, in memory there is their data.
_LEARNER = Saved(Where.LEARNER, _encode_learner, _decode_learner)
_ACTORS = Saved(Where.ARRAYS, _encode_actors, _decode_actors)
_RECENT = Saved(
    Where.NUMBERS,
    lambda games: games.all(),
    lambda stored: episodes.RecentGames(map(tuple, stored)),
)


@dataclasses.dataclass
class RunState:
    """All that changes in a run. The loop rebinds the device's arrays, which it donates."""

    train_state: learner.TrainState = field(metadata=_saved(_LEARNER))
    # [M + 1] of metrics since the last row of them, and of updates
    sums: jax.Array = field(metadata=_saved(Where.ARRAYS))
    actors: list[actor.ActorState] = field(metadata=_saved(_ACTORS))  # one for each group
    # What the sampler has learned; () where it learns nothing.
    sampler: Any = field(default=(), metadata=_saved(Where.ARRAYS))
    counters: Counters = field(default_factory=Counters, metadata=_saved(_COUNTERS))
    # The counters before the last turn, and when metrics were last read.
    turn_began: Counters = field(default_factory=Counters, metadata=_saved(_COUNTERS))
    logged: Counters = field(default_factory=Counters, metadata=_saved(_COUNTERS))
    recent: episodes.RecentGames = field(
        default_factory=episodes.RecentGames, metadata=_saved(_RECENT)
    )
    # Gigabytes: made when play begins.
    ring: ring_lib.RingState | None = field(default=None, metadata=_saved(Where.REPLAY))
    rows: int = field(default=0, metadata=_saved(Where.NUMBERS))  # written to the ring
    # Grows where rows of the ring change after they were written; compared within one process.
    ring_life: int = field(default=0, metadata=_saved(Where.NOWHERE))
    # Updates that were refused, as far as that was seen in `train_state`.
    refused: int = field(default=0, metadata=_saved(Where.NOWHERE))
    # What the last update drew, to be shown if it was refused.
    drawn: Any = field(default=None, metadata=_saved(Where.NOWHERE))
    # What the algorithm has begun and not ended, for itself; None between two pieces of work.
    own: Any = field(default=None, metadata=_saved(Where.ALGORITHM))
    # Updates fall due from here on. A run that resumes without its replay first fills it again.
    learning_from_step: int = field(default=0, metadata=_saved(Where.NUMBERS))
    learning_from_update: int = field(default=0, metadata=_saved(Where.NUMBERS))


def saved(where: Where) -> dict[str, Saved]:
    """The fields of `RunState` that a part of a checkpoint holds, by name."""
    found = {each.name: each.metadata["saved"] for each in dataclasses.fields(RunState)}
    return {name: each for name, each in found.items() if each.where == where}


class NonFiniteError(Exception):
    """An update was refused, and the run must stop.

    Args:
      batch: a tree of arrays: the data of the update.
      metrics: of the update.
    """

    def __init__(self, batch: Any, metrics: Mapping[str, Any]):
        self.batch = batch
        self.quantities = {
            name: float(metrics[name]) for name in learner.METRICS if not np.isfinite(metrics[name])
        }
        super().__init__(", ".join(f"{name} is {x}" for name, x in self.quantities.items()))


def crossed(then: int, now: int, period: int) -> bool:
    """Whether a multiple of `period` lies in (then, now]; never for period 0."""
    return period > 0 and then // period != now // period


def note_refused(config: config_lib.Config, state: RunState, refused: int) -> bool:
    """Records how many updates were refused; returns whether the run must stop for that."""
    is_new, state.refused = refused > state.refused, refused
    return is_new and config.on_nonfinite == "stop"
