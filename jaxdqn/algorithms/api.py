"""What an algorithm is to the rest of the program.

The module of an algorithm, registered in `settings.registries`, defines `ALGORITHM`, an
`Algorithm`. `RunState.own` holds the algorithm's unfinished work.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from jaxdqn.agent import learner
from jaxdqn.algorithms import events, run_state
from jaxdqn.envs import api
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import registries

# Begins to compile a function for arguments of such shapes, on a thread of its own. See
# `assembly.compile_ahead`.
Ahead = Callable[..., Callable[..., Any]]


class Learning(NamedTuple):
    """How one run learns."""

    init: Callable[[jax.Array], learner.TrainState]  # (key); compiled
    # Learns, in place, what fell due since the counters given: those before the turn. What takes
    # long pauses now and then. Raises NonFiniteError.
    learn: Callable[[run_state.RunState, run_state.Counters], Iterator[events.Paused]]
    # (state, refused updates as the device counted them, what the last update before that drew):
    # with `on_nonfinite=stop`, raises NonFiniteError if one was refused since the last call.
    # Algorithms whose `learn` asks the device itself need none.
    raise_if_refused: Callable[[run_state.RunState, int, Any], None] = lambda *_: None
    # (compiles ahead, train state, metric sums, sampler state, ring): the same, being compiled.
    # Arrays, or their shapes. None: nothing is compiled before it is needed.
    compile_ahead: Callable[..., "Learning"] | None = None
    # `learn` waits for nothing, and needs only the number of steps: it may be called before the
    # actions of a turn have come.
    is_queued: bool = False


class OwnState(NamedTuple):
    """How `RunState.own` is saved."""

    pack: Callable[[Any], tuple[Any, dict[str, Any]]]  # own -> arrays, numbers for JSON
    # (numbers, shape of the ring [R, E], mesh) -> what the arrays are like
    like: Callable[[Mapping[str, Any], tuple[int, ...], Mesh], Any]
    unpack: Callable[[Any, Mapping[str, Any]], Any]  # (arrays, numbers) -> own


class Algorithm(NamedTuple):
    """How a run learns, for all settings."""

    build: Callable[[config_lib.Config, api.EnvSpec, Mesh], Learning]
    plan: Callable[[config_lib.Config], str]  # what a run will learn, in a few words
    own: OwnState | None = None  # None: `RunState.own` stays None


def chosen(config: config_lib.Config) -> Algorithm:
    """The algorithm of a run."""
    algorithm: Algorithm = registries.ALGORITHMS.load(config.algorithm).ALGORITHM
    return algorithm
