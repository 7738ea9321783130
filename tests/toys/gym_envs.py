"""Environments that somebody might register with Gymnasium, by `--env=tests.toys.gym_envs:ID`."""

import os
import pathlib

import gymnasium
import numpy as np
from gymnasium import spaces

IMAGE = (6, 4, 3)


class Adder(gymnasium.Env):
    """A number drawn from the seed, to which actions are added; its game ends beyond 5."""

    def __init__(self, first_action=0, render_mode=None):
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(3, start=first_action)
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.total = 0, self.draw()
        return self.look(), {}

    def draw(self):
        return self.np_random.random()

    def look(self):
        return np.array([self.total, self.steps])

    def step(self, action):
        assert self.action_space.contains(np.int64(action)), action
        self.steps += 1
        self.total += int(action) - self.action_space.start + 0.1 * self.draw()
        return self.look(), self.total / 3, self.total > 5, False, {}

    def render(self):
        return np.full(IMAGE, self.steps, np.uint8) if self.render_mode else None


class Unseeded(Adder):
    """Draws from the machine's own randomness."""

    def draw(self):
        return np.random.default_rng().random()


class Failing(Adder):
    """Fails in its fifth step, or ends its process."""

    def __init__(self, code=0):
        super().__init__()
        self.code = code

    def step(self, action):
        if self.steps == 4:
            if self.code:
                os._exit(self.code)
            raise ZeroDivisionError("one over nothing\nand more")
        return super().step(0)


class Pictures(Adder):
    """Shows images, whose left half is bright in red."""

    def __init__(self, channels=3):
        super().__init__()
        shape = IMAGE[:2] + ((channels,) if channels else ())
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)

    def look(self):
        image = np.zeros(self.observation_space.shape, np.uint8)
        if image.ndim == 3:
            image[:, :2, 0] = 200
        else:
            image[:, :2] = 200
        return image


class Board(Adder):
    """Shows which of four things are on the places of a board, as MinAtar does."""

    def __init__(self, dtype=np.bool_, render_mode=None):
        super().__init__(render_mode=render_mode)
        self.observation_space = spaces.Box(0, 1, (9, 7, 4), dtype)

    def look(self):
        board = np.zeros(self.observation_space.shape, self.observation_space.dtype)
        board[self.steps % 9, :2, 1] = True
        board[3, int(self.total) % 7, 2] = True
        return board


class Talking(Adder):
    """Says a different number of things in each step, and writes down when it is closed."""

    def step(self, action):
        return *super().step(action)[:4], {"moves": np.arange(self.steps), "odd": None}

    def close(self):
        if path := os.environ.get("TALKING_CLOSED"):
            with pathlib.Path(path).open("a") as file:
                file.write("closed\n")


class Stuck(Adder):
    """Never ends its third step."""

    def step(self, action):
        while self.steps == 2:
            pass
        return super().step(action)


class Endless(Adder):
    """Goes on for ever."""

    def step(self, action):
        observation, reward, _, *others = super().step(action)
        return observation, reward, False, *others


def limited(**options):
    """A game whose limit is not that of its registration."""
    return gymnasium.wrappers.TimeLimit(Endless(**options), 5)


class Plain(gymnasium.Env):
    """Shows images of four channels, and knows nothing of rendering."""

    def __init__(self):
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Box(0, 255, (2, 2, 4), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.look(), {}

    def look(self):
        return np.full((2, 2, 4), (100, 80, 60, 0), np.uint8)

    def step(self, action):
        return self.look(), 1.0, True, False, {}


class Strict(Adder):
    """As Gymnasium's own template: it refuses ways to draw that it does not have."""

    def __init__(self, render_mode=None):
        assert render_mode in (None, "human")
        super().__init__()


class Printing(Adder):
    """Prints."""

    def step(self, action):
        print("a step on", os.environ["JAX_PLATFORMS"], flush=True)
        return super().step(action)


class Lacking(gymnasium.Env):
    """Has no spaces."""


class Seen(Adder):
    """Shows a member of any space."""

    def __init__(self, space):
        super().__init__()
        self.observation_space = space

    def look(self):
        return self.observation_space.sample()


class Unlike(Adder):
    """Shows something else than its space says."""

    def __init__(self, space, shown):
        super().__init__()
        self.observation_space, self.shown = space, shown

    def look(self):
        return self.shown


class Told(Adder):
    """Takes actions of any space."""

    def __init__(self, space):
        super().__init__()
        self.action_space = space


class OwnBox(spaces.Box):
    """A space of somebody's own."""


class OwnDiscrete(spaces.Discrete):
    """Another one."""


def _register(env_id, made, **options):
    gymnasium.register(env_id, entry_point=f"{__name__}:{made.__name__}", **options)


_register("Adder-v0", Adder, max_episode_steps=7)
_register("Shifted-v0", Adder, max_episode_steps=7, kwargs={"first_action": -1})
_register("Strict-v0", Strict)
_register("Printing-v0", Printing)
_register("Twice-v1", Adder)
_register("Twice-v2", Adder)
_register("Unseeded-v0", Unseeded, max_episode_steps=7)
_register("Declared-v0", Unseeded, max_episode_steps=7, nondeterministic=True)
_register("Failing-v0", Failing)
_register("Dying-v0", Failing, kwargs={"code": 3})
_register("Talking-v0", Talking, max_episode_steps=7)
_register("Stuck-v0", Stuck)
_register("Endless-v0", Endless)
_register("Limited-v0", limited)
_register("Plain-v0", Plain)
_register("Lacking-v0", Lacking)
_register("Pictures-v0", Pictures)
_register("Grey-v0", Pictures, kwargs={"channels": 1})
_register("Flat-v0", Pictures, kwargs={"channels": 0})
_register("Board-v0", Board, max_episode_steps=7)
_register("Pieces-v0", Board, max_episode_steps=7, kwargs={"dtype": np.uint8})
_register("Number-v0", Seen, kwargs={"space": spaces.Discrete(4, start=10)})
_register("Kinds-v0", Seen, kwargs={"space": spaces.Box(0, 2, (9,), np.uint8)})
_register("Memory-v0", Seen, kwargs={"space": spaces.Box(0, 255, (9,), np.uint8)})
_register("Single-v0", Seen, kwargs={"space": spaces.Box(0, 9, (), np.int64)})
_register(
    "Dict-v0", Seen, kwargs={"space": spaces.Dict(a=spaces.Discrete(2), b=spaces.Discrete(3))}
)
_IMAGE = spaces.Box(0, 255, IMAGE, np.uint8)
_register("Below-v0", Unlike, kwargs={"space": spaces.Discrete(4, start=1), "shown": 0})
_register("Bright-v0", Unlike, kwargs={"space": _IMAGE, "shown": np.ones(IMAGE)})
_register("Turned-v0", Unlike, kwargs={"space": _IMAGE, "shown": np.ones((3, 6, 4), np.uint8)})
_register("Large-v0", Unlike, kwargs={"space": _IMAGE, "shown": np.full(IMAGE, 256)})
_register("Text-v0", Seen, kwargs={"space": spaces.Text(3)})
_register("Own-v0", Seen, kwargs={"space": OwnBox(0, 1, (2,))})
_register("Chosen-v0", Told, kwargs={"space": OwnDiscrete(3)})
_register("Continuous-v0", Told, kwargs={"space": spaces.Box(0, 1, (2,))})
gymnasium.register("Local-v0", entry_point=lambda: Adder(), max_episode_steps=7)
