"""A source of environments with one small game, as somebody would add it to `jaxdqn`.

A walker stands in a corridor. The right end pays 1 and ends the game.
"""

import numpy as np

from jaxdqn.envs import api, registry

CELLS = 6
LEFT, RIGHT = 0, 1
ENV_ID = "toy/Corridor-v0"
_DEFAULT_STEPS, _MOST_STEPS = 20, 1_000


def game(env_id):
    return api.GameInfo("Corridor", source=SOURCE.name)


def describe(env_id, options):
    for option, value in options.items():
        if option != "max_episode_steps":
            raise api.UnknownOptionError(option, env_id)
        if value > _MOST_STEPS:
            raise api.OptionError(option, f"is {value}; {env_id} takes at most {_MOST_STEPS:,}")
    return api.EnvSpec(
        env_id=env_id,
        frame_shape=(CELLS,),
        frame_dtype=np.dtype(np.float32),
        num_actions=2,
        frame_skip=1,
        steps_per_second=4.0,
        action_names=("LEFT", "RIGHT"),
        game=game(env_id),
    )


class CorridorEnv:
    """Walkers [E]; number i begins in cells drawn with `seed + i`, whatever its neighbours do."""

    def __init__(self, env_id, num_envs, seed, options, num_threads=0, with_screen=False):
        self.spec, self.num_envs = describe(env_id, options), num_envs
        self._limit = options.get("max_episode_steps", _DEFAULT_STEPS)
        self._random = [np.random.default_rng(seed + i) for i in range(num_envs)]
        self._cells = np.zeros(num_envs, np.int64)
        self._lengths = np.zeros(num_envs, np.int64)
        self._ended = np.ones(num_envs, bool)  # their next row opens a game
        self.send(np.zeros(num_envs, np.int32))

    def send(self, actions):
        opens = self._ended
        starts = [random.integers(CELLS - 1) if new else 0 for random, new in self._openings()]
        moved = np.clip(self._cells + np.where(actions == RIGHT, 1, -1), 0, CELLS - 1)
        self._cells = np.where(opens, starts, moved)
        self._lengths = np.where(opens, 0, self._lengths + 1)
        terminated = self._cells == CELLS - 1
        truncated = self._lengths >= self._limit
        self._ended = terminated | truncated
        self._step = api.TimeStep(
            frame=np.eye(CELLS, dtype=np.float32)[self._cells],
            reward=terminated.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            is_first=opens,
            life_lost=np.zeros(self.num_envs, bool),
        )

    def _openings(self):
        return zip(self._random, self._ended, strict=True)

    def receive(self):
        return self._step

    def rest(self, envs):
        pass  # they walk on

    def screen(self):
        """Eight pixels for each cell, white where the walker stands."""
        row = np.repeat(255 * self._step.frame[0].astype(np.uint8), 8)
        return np.broadcast_to(row[None, :, None], (8, len(row), 3))

    def close(self):
        pass


SOURCE = api.Source(
    name="Toy",
    resolve={"Corridor": ENV_ID, ENV_ID: ENV_ID}.get,
    plain_names=lambda: ["Corridor"],
    ids=lambda: [ENV_ID],
    game=game,
    describe=describe,
    make=CorridorEnv,
)


def register():
    """Makes the corridor known, as `--env=Corridor`."""
    registry.register(SOURCE)
