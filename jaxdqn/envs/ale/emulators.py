"""ALE's vector of emulators, with a time limit that shows the last frame."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Shown(NamedTuple):
    """What E emulators show after their last actions."""

    image: npt.NDArray[np.uint8]  # [E, 1, H, W], with a last axis of 3 if in color
    reward: npt.NDArray[np.integer]  # [E]
    terminated: npt.NDArray[np.bool_]  # [E]
    truncated: npt.NDArray[np.bool_]  # [E]
    is_first: npt.NDArray[np.bool_]  # [E]
    lives: npt.NDArray[np.integer]  # [E]


class Emulators:
    """Emulators stepped together, whose games end after `limit` steps at the latest.

    ALE has a limit of its own, but the image of the last step before it is wrong: ALE leaves the
    step before it copies the last frame. Learning bootstraps from this image. So ALE is told of no
    limit. Steps are counted here, and a game at its limit plays one step more, which nobody sees,
    before it gives way to the next game.

    Args:
      vector: an `ale_py.AtariVectorEnv` that restarts ended games on the next step.
      seed: emulator i plays with `seed + i`.
      limit: steps of a game.
    """

    def __init__(self, vector: Any, seed: int, limit: int):
        self._vector, self._limit = vector, limit
        self._lengths = np.zeros(vector.num_envs, np.int64)  # of the games, in steps
        self._replaced = np.zeros(vector.num_envs, bool)  # games that only the limit ended
        self._ended = np.zeros(vector.num_envs, bool)
        image, info = vector.reset(seed=seed)
        nothing = np.zeros(vector.num_envs, bool)
        opened = Shown(image, nothing.astype(int), nothing, nothing, ~nothing, info["lives"])
        self._opening: Shown | None = opened

    def send(self, actions: npt.NDArray[np.integer]) -> None:
        """Starts the step that plays `actions` [E]."""
        self._vector.send(np.asarray(actions, np.int32))

    def receive(self) -> Shown:
        """Waits for the pending step; the first call returns what is shown before any."""
        if self._opening:
            opened, self._opening = self._opening, None
            return opened
        image, reward, terminated, _, info = self._vector.recv()
        if self._replaced.any():
            # Those that are not replaced show what they have just shown.
            image, info = self._vector.reset(options={"reset_mask": self._replaced})
            reward, terminated = reward * ~self._replaced, terminated & ~self._replaced
        is_first = self._ended
        self._lengths = np.where(is_first, 0, self._lengths + 1)
        truncated = self._lengths >= self._limit
        self._ended = terminated | truncated
        self._replaced = truncated & ~terminated
        return Shown(image, reward, terminated, truncated, is_first, info["lives"])

    def close(self) -> None:
        """Frees the emulators: their threads end with the object."""
        self._vector.close()
        del self._vector
