"""An environment of your own: a walker looks for a goal on a grid.

cd examples
python -m jaxdqn.train --env=own_environment:Walk-v0
"""

import gymnasium
import numpy as np

MOVES = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])


class Walk(gymnasium.Env):
    """Observations are the places of walker and goal. Each step costs 0.05, and the goal pays 1."""

    def __init__(self, size=7):
        self.size = size
        self.action_space = gymnasium.spaces.Discrete(len(MOVES))
        self.observation_space = gymnasium.spaces.Box(0, 1, (4,), np.float32)

    def reset(self, *, seed=None, options=None):
        """Starts a game."""
        super().reset(seed=seed)
        self.walker, self.goal = self.np_random.integers(self.size, size=(2, 2))
        return self._look(), {}

    def step(self, action):
        """Moves the walker."""
        self.walker = np.clip(self.walker + MOVES[action], 0, self.size - 1)
        arrived = bool((self.walker == self.goal).all())
        return self._look(), 1.0 if arrived else -0.05, arrived, False, {}

    def _look(self):
        return np.concatenate([self.walker, self.goal]).astype(np.float32) / (self.size - 1)


gymnasium.register("Walk-v0", entry_point="own_environment:Walk", max_episode_steps=50)
