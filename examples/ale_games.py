"""Games of ALE's own vector of emulators for `playing.py`."""

import ale_py


class Games(ale_py.AtariVectorEnv):
    """Games side by side; number i begins with `seed + i`."""

    def __init__(self, options, num_games, seed):
        super().__init__(num_envs=num_games, **{**options, "stack_num": 1})  # `play` stacks
        self.seed = seed

    def reset(self):
        """Begins all games."""
        return super().reset(seed=self.seed)
