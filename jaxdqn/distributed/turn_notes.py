"""What processes tell each other at every turn, besides the devices' own work.

Numbers of the host travel with the actions: each environment has a row of them, and all processes
get the rows of all environments. So each process counts every game and has every action.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jaxdqn.envs import episodes

# Columns. A game's return is a float64, which JAX would round: its bits travel as two numbers.
ACTION, _LENGTH, _RETURN, _CAPPED, _SIGNAL, REFUSED = 0, 1, slice(2, 4), 4, 5, 6
NUM_COLUMNS = 7

Note = npt.NDArray[np.int32]  # [E, 7]


def write(num_envs: int, games: Sequence[episodes.Game], signum: int) -> Note:
    """A note about this process's environments, without what the devices add to it: `ACTION`, which
    they choose, and `REFUSED`, how many updates they have refused so far.

    Args:
      num_envs: E, of this process.
      games: that ended in this turn.
      signum: the signal that asks this process to stop; 0: none.
    """
    note = np.zeros((num_envs, NUM_COLUMNS), np.int32)
    if signum:
        note[:, _SIGNAL] = signum
    for game in games:
        note[game.env, _LENGTH] = game.length
        note[game.env, _RETURN] = np.array([game.game_return]).view(np.int32)
        note[game.env, _CAPPED] = game.capped
    return note


def games(note: Note) -> list[episodes.Game]:
    """The games of all environments that ended in this turn."""
    (ended,) = note[:, _LENGTH].nonzero()
    if not len(ended):
        return []
    returns = np.ascontiguousarray(note[ended, _RETURN]).view(np.float64)[:, 0]
    return [
        episodes.Game(int(env), float(value), int(note[env, _LENGTH]), bool(note[env, _CAPPED]))
        for env, value in zip(ended, returns, strict=True)
    ]


def refused(note: Note) -> int:
    """The number of updates that the devices had refused when they chose the actions."""
    return int(note[0, REFUSED])


def signals(note: Note) -> npt.NDArray[np.int32]:
    """The signals that ask processes to stop [E]; 0: none."""
    return note[:, _SIGNAL]
