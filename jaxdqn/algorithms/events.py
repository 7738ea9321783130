"""What the loop of a run hands over to those who run it."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxdqn.envs import episodes
from jaxdqn.rundir import metrics


class Paused(NamedTuple):
    """A point during learning where signals can be handled."""

    row: metrics.Row | None = None  # of metrics; set when a unit of work is done


class TurnOver(NamedTuple):
    """A group of environments has had its turn, and what fell due is learned."""

    games: Sequence[episodes.Game]  # that ended in it


Event = Paused | TurnOver
