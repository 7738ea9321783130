"""An environment of your own: a walker looks for a goal on a grid.

cd examples
python -m jaxdqn.train --env=own_environment:Walk-v0
"""

import gymnasium
import numpy as np

MOVES = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])


class Walk(gymnasium.Env):
    """Observations are the places of walker and goal. Each step costs 0.05, and the goal pays 1."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # for films, as is `render`

    def __init__(self, size=7, render_mode=None):
        self.size, self.render_mode = size, render_mode
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

    def render(self):
        """Draws a white walker and a green goal, with 20 x 20 pixels for each place."""
        picture = np.zeros((self.size, self.size, 3), np.uint8)
        picture[tuple(self.goal)] = (0, 200, 0)
        picture[tuple(self.walker)] = 255
        return picture.repeat(20, axis=0).repeat(20, axis=1)

    def _look(self):
        return np.concatenate([self.walker, self.goal]).astype(np.float32) / (self.size - 1)


gymnasium.register("Walk-v0", entry_point="own_environment:Walk", max_episode_steps=50)
