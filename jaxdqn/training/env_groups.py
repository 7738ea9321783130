"""Groups of environments whose state can be restored.

Emulators cannot be saved. But equal seeds and equal actions make equal games: a group remembers the
actions it was sent since it was created, and a new group with the same seeds plays them again.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jaxdqn import errors
from jaxdqn.distributed import processes
from jaxdqn.envs import api, episodes


class Sent(NamedTuple):
    """What restores a group of environments."""

    made_at_step: int
    actions: npt.NDArray[np.unsignedinteger]  # [T, E], in the smallest type that holds them
    fingerprint: int  # of what they show after these actions
    opening: int  # environments whose next row opens a game
    history: int | None = None  # of all that they have shown; None: not known


NOTHING_SENT = Sent(0, np.zeros((0, 0), np.uint8), 0, 0)


class Group:
    """Environments that are stepped together, and their current games.

    Each process has its share of them, and knows the actions that all of them were sent.

    Args:
      make: starts the environments of a range at an agent step of the run; the seed of number i
        follows from the step and from i.
      num_envs: E, over all processes.
      step: the agent step at which the environments are created.
    """

    def __init__(self, make: Callable[[int, range], api.VectorEnv], num_envs: int, step: int = 0):
        self._make, self.num_envs, self._share = make, num_envs, processes.share(num_envs)
        self._is_open = False
        self.abandon(step)
        self.start()

    def abandon(self, step: int) -> None:
        """Closes the environments, and forgets their games. `start` makes others.

        A run that is saved between the two starts them when it resumes.

        Args:
          step: the agent step of the run.
        """
        self.close()
        self.made_at_step = step
        self.opening = self.num_envs  # environments whose next row opens a game
        self._bytes_sent = bytearray()  # a list of arrays would take ten times as much
        self._frame: npt.NDArray[np.generic] = np.zeros(0)
        # Checksums of all that they have shown, where nobody says that they play the same again.
        self._histories = [0] * len(self._share)
        self._pending: api.TimeStep | None = None  # received already
        self.failure: errors.EnvFailedError | None = None  # of playing again
        self._tracker = episodes.EpisodeTracker(len(self._share))

    def start(self) -> None:
        """Makes the environments.

        Raises:
          EnvNotStartedError: they cannot be started.
        """
        self._env, self._is_open = self._make(self.made_at_step, self._share), True
        self._dtype = np.min_scalar_type(self._env.spec.num_actions - 1)

    def receive(self) -> tuple[api.TimeStep, list[episodes.Game]]:
        """Waits for this process's pending time step; returns it and the games that ended."""
        step = self._pending or self._env.receive()
        self._pending, self._frame = None, step.frame
        if self._env.spec.plays_again is None:
            self._histories = [
                zlib.crc32(b"".join(np.asarray(part[i]).tobytes() for part in step), history)
                for i, history in enumerate(self._histories)
            ]
        return step, self._tracker.add(step)

    def send(self, actions: npt.NDArray[np.integer], ended: int) -> None:
        """Starts the step that plays `actions` [E]; `ended` games have just ended."""
        self._bytes_sent += np.asarray(actions).astype(self._dtype).tobytes()
        self.opening = ended
        self._env.send(actions[self._share.start : self._share.stop])

    def sent(self) -> Sent:
        """What was sent since the environments were created. All processes call it together."""
        actions = np.frombuffer(bytes(self._bytes_sent), self._dtype).reshape(-1, self.num_envs)
        return Sent(self.made_at_step, actions, self.fingerprint(), self.opening, self._history())

    def replay(self, sent: Sent, may_fail: bool = False) -> Iterator[None]:
        """Plays the actions that another group was sent; yields after every step.

        Args:
          sent: those actions.
          may_fail: an environment that fails becomes `failure`, also one that fails in the step
            under way, in which the other group may have failed.

        Raises:
          EnvFailedError: an environment failed, and may not.
        """
        try:
            for actions in sent.actions:
                self.receive()
                self.send(actions.astype(np.int32), sent.opening)
                yield
            if may_fail:
                self._pending = self._env.receive()
        except errors.EnvFailedError as error:
            if not may_fail:
                raise
            self.failure = error

    def has_come_back(self, sent: Sent) -> bool:
        """Whether it shows what the other group showed. All processes must call it together."""
        if not processes.agreed_by_all(self.failure is None):
            return False
        if sent.history is not None:
            return self._history() == sent.history
        return not len(sent.actions) or self.fingerprint() == sent.fingerprint

    def fingerprint(self) -> int:
        """Equal for groups that show the same frames. All processes must call it together."""
        return _of_all([zlib.crc32(np.ascontiguousarray(frame).tobytes()) for frame in self._frame])

    def _history(self) -> int | None:
        return _of_all(self._histories) if self._env.spec.plays_again is None else None

    def close(self) -> None:
        """Frees the emulators, if they are not free yet."""
        if self._is_open:
            self._env.close()
        self._is_open = False


def _of_all(checksums: list[int]) -> int:
    """One checksum of those of all environments. All processes must call it together."""
    return zlib.crc32(processes.gather(np.array(checksums, np.uint32)).tobytes())
