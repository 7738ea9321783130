"""The settings of a run: one frozen dataclass, checked when it is made.

Every field is a flag of the same name (see `cli`), so units stand in the names. A step is one agent
step of one environment; an Atari step is four frames unless `frame_skip` says otherwise.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from jaxdqn import errors
from jaxdqn.settings import ranges


def _setting(default: Any, help_text: str, allowed: ranges.Range | None = None) -> Any:
    """A field; of a list each part must be in the range, and None always may stand."""
    return dataclasses.field(default=default, metadata={"help": help_text, "range": allowed})


_INITIALIZERS = ranges.one_of("lecun_normal", "glorot_uniform", "he_normal", "truncated_normal")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a training run.

    Raises:
      SettingError: when a value is out of its range or does not fit another one.
    """

    # What is played.
    env: str = _setting("", "game: a plain name such as Breakout or CartPole, or a full EnvPool id")
    preset: str = _setting("", "named settings that the other flags change (default: by the game)")
    seed: int = _setting(
        0,
        "seed of everything random in the run",
        ranges.Range(lambda value: 0 <= value < 2**31, "at least 0, below 2**31"),
    )
    total_steps: int = _setting(
        10_000_000, "agent steps of the whole run, over all environments", ranges.STEPS
    )
    num_envs: int = _setting(
        32,
        "environments played side by side; an even number plays in halves",
        ranges.at_most(2**16),
    )
    env_threads: int = _setting(
        0, "emulator threads of each half; 0 leaves it to EnvPool", ranges.at_most(1_024, least=0)
    )
    frame_stack: int = _setting(1, "newest frames that the network sees", ranges.COUNT)
    # None leaves an option to the environment; a value is refused where the option does not exist.
    frame_skip: int | None = _setting(None, "emulator frames per agent step (Atari)", ranges.COUNT)
    frame_skip_min: int | None = _setting(
        None,
        "fewest frames of a step, drawn anew for each up to --frame_skip (Atari)",
        ranges.COUNT,
    )
    noop_max: int | None = _setting(
        None, "most random no-ops that open a game, at least 1 (Atari)", ranges.COUNT
    )
    repeat_action_probability: float | None = _setting(
        None,
        "chance that the emulator repeats the last action: sticky actions (Atari)",
        ranges.SHARE,
    )
    full_action_space: bool | None = _setting(None, "all 18 joystick actions (Atari)")
    use_fire_reset: bool | None = _setting(None, "press FIRE to open a game (Atari)")
    img_height: int | None = _setting(None, "height of a frame in pixels (Atari)", ranges.COUNT)
    img_width: int | None = _setting(None, "width of a frame in pixels (Atari)", ranges.COUNT)
    max_episode_steps: int | None = _setting(
        None, "time limit of a game in agent steps", ranges.COUNT
    )

    motion_trace: bool = _setting(
        False, "a second channel beside each frame: a fading trace of what moved (images)"
    )

    # Replay.
    replay_capacity: int = _setting(
        100_000, "steps that the replay holds, over all environments", ranges.STEPS
    )
    batch_size: int = _setting(32, "transitions per update", ranges.COUNT)
    steps_per_update: int = _setting(4, "agent steps per update", ranges.COUNT)
    updates_per_slice: int = _setting(
        0,
        "updates the device runs in one go; 0: as many as fall due in one turn",
        ranges.COUNT_OR_ZERO,
    )
    learning_starts_steps: int = _setting(
        20_000, "steps that fill the replay before learning starts", ranges.STEPS_OR_ZERO
    )

    # Learning.
    algorithm: str = _setting(
        "dqn",
        "dqn, or sweep: backward sweeps over a memory that is emptied after it has been fitted. It "
        "has no target network, n-step sums or updates by steps, and a squared loss of its own: "
        "what sets these is for dqn",
        ranges.one_of("dqn", "sweep"),
    )
    discount: float = _setting(0.99, "discount factor gamma of one step", ranges.SHARE)
    n_step: int = _setting(1, "rewards summed before bootstrapping", ranges.COUNT)
    double_q: bool = _setting(True, "choose the bootstrap action with the online network")
    loss: str = _setting("huber", "loss of a TD error: huber or mse", ranges.one_of("huber", "mse"))
    loss_scale: float = _setting(1.0, "factor of the loss", ranges.POSITIVE)
    huber_delta: float = _setting(
        1.0, "TD error at which the Huber loss turns linear", ranges.POSITIVE
    )
    reward_clip: float = _setting(
        0.0,
        "clip rewards to [-x, x] for learning; 0 leaves them. Returns are never clipped",
        ranges.NOT_NEGATIVE,
    )
    reward_scale: float = _setting(
        1.0,
        "factor of rewards for learning, after clipping. Returns are never scaled",
        ranges.POSITIVE,
    )
    terminal_reward: float | None = _setting(
        None,
        "reward to learn from where a game itself ends (default: the game's own)",
        ranges.FINITE,
    )
    terminal_repeats: int = _setting(
        1,
        "how often a step that ends a game itself is drawn for one draw of another",
        ranges.Range(lambda value: value in (1, 2, 3), "1, 2 or 3"),
    )
    life_loss_ends: bool = _setting(False, "learn as if a lost life ended the game (Atari)")
    time_limit_ends: bool = _setting(
        False, "learn as if a time limit ended the game itself; for study"
    )
    optimizer: str = _setting(
        "adam", "adam, or rmsprop (epsilon inside the root)", ranges.one_of("adam", "rmsprop")
    )
    learning_rate: float = _setting(1e-4, "learning rate at the first update", ranges.POSITIVE)
    learning_rate_end: float | None = _setting(
        None,
        "learning rate at the end of its decay, reached linearly (default: it stays)",
        ranges.NOT_NEGATIVE,
    )
    learning_rate_decay_steps: int = _setting(
        0,
        "steps of that decay, after learning starts (in sweeps from the first step on); 0: up to "
        "the end of the run",
        ranges.STEPS_OR_ZERO,
    )
    optimizer_epsilon: float = _setting(1e-8, "the optimizer's epsilon", ranges.POSITIVE)
    rmsprop_decay: float = _setting(0.95, "decay of RMSProp's running means", ranges.SHARE)
    rmsprop_centred: bool = _setting(True, "subtract RMSProp's running mean of gradients")
    rmsprop_initial: float = _setting(
        0.0, "where RMSProp's running mean of squares begins", ranges.NOT_NEGATIVE
    )
    max_grad_norm: float = _setting(
        10.0, "clip gradients to this norm; 0 does not", ranges.NOT_NEGATIVE
    )
    clip_per_tensor: bool = _setting(
        False, "clip the gradient of each parameter for itself, instead of all together"
    )
    target_tau: float = _setting(
        0.005,
        "share of the online network moved into the target at a time; 1 copies it",
        ranges.PART,
    )
    target_period_updates: int = _setting(
        1, "updates between moves of the target network; 0: none by updates", ranges.COUNT_OR_ZERO
    )
    target_period_steps: int = _setting(
        0, "steps between them; 0: none by steps", ranges.STEPS_OR_ZERO
    )
    target_period_episodes: int = _setting(
        0, "games between them; 0: none by games", ranges.COUNT_OR_ZERO
    )

    # The network.
    network: str = _setting(
        "mlp",
        "nature (three convolutions), conv (those of the --conv_* settings) or mlp",
        ranges.one_of("nature", "conv", "mlp"),
    )
    conv_features: tuple[int, ...] = _setting(
        (), "outputs of each convolution, comma-separated", ranges.COUNT
    )
    conv_sizes: tuple[int, ...] = _setting((), "lengths of their square windows", ranges.COUNT)
    conv_strides: tuple[int, ...] = _setting((), "their strides", ranges.COUNT)
    conv_padding: str = _setting(
        "valid", "valid, or same (zeros around images)", ranges.one_of("valid", "same")
    )
    hidden_sizes: tuple[int, ...] = _setting(
        (512,), "sizes of the dense layers, of each stream of a dueling network", ranges.COUNT
    )
    dueling: bool = _setting(False, "value and advantages in streams of their own")
    conv_init: str = _setting(
        "lecun_normal",
        "how kernels of convolutions begin: lecun_normal, glorot_uniform, he_normal or "
        "truncated_normal (standard deviation 0.02)",
        _INITIALIZERS,
    )
    dense_init: str = _setting(
        "lecun_normal", "how kernels of dense layers begin; the same names", _INITIALIZERS
    )
    scale_pixels: bool = _setting(True, "divide pixels by 255")
    # Backward sweeps; their schedules count steps from the first on.
    sweep_fraction_start: float = _setting(
        0.1, "share of the replay filled before the first sweep", ranges.PART
    )
    sweep_fraction_end: float = _setting(1.0, "that share at the end of its schedule", ranges.PART)
    sweep_loss_limit_start: float = _setting(
        0.1,
        "mean loss of the last 100 batches below which fitting stops, after its first epoch",
        ranges.NOT_NEGATIVE,
    )
    sweep_loss_limit_end: float = _setting(
        0.015, "that loss at the end of its schedule", ranges.NOT_NEGATIVE
    )
    sweep_max_epochs_start: float = _setting(5.0, "most epochs of fitting", ranges.POSITIVE)
    sweep_max_epochs_end: float = _setting(
        10.0, "most epochs at the end of their schedule", ranges.POSITIVE
    )
    sweep_decay_steps: int = _setting(
        5_000_000, "steps of these three schedules", ranges.STEPS_OR_ZERO
    )
    sweep_error_threshold: float = _setting(
        0.1, "change of a value above which an error is large", ranges.NOT_NEGATIVE
    )
    sweep_large_error_share: float = _setting(
        0.5, "least share of a batch with large errors", ranges.SHARE
    )

    on_nonfinite: str = _setting(
        "stop",
        "what becomes of an update whose loss, values or gradients are not finite: stop the run "
        "before it, or skip it",
        ranges.one_of("stop", "skip"),
    )
    compute_dtype: str = _setting(
        "float32",
        "what the network computes in: float32 or bfloat16; parameters stay float32",
        ranges.one_of("float32", "bfloat16"),
    )

    # Exploration.
    epsilon_start: float = _setting(
        1.0, "chance that a random action begins, when learning starts", ranges.SHARE
    )
    epsilon_end: float = _setting(
        0.01, "chance that a random action begins, after the decay", ranges.SHARE
    )
    epsilon_decay_steps: int = _setting(250_000, "steps of the linear decay", ranges.STEPS_OR_ZERO)
    epsilon_decay_from_step: int | None = _setting(
        None, "step at which the decay begins (default: when learning starts)", ranges.STEPS_OR_ZERO
    )

    explore_max_steps: int = _setting(
        1, "steps that a random action lasts at most: k or more with probability 1/k", ranges.COUNT
    )

    # Reports.
    eval_every_steps: int = _setting(
        250_000, "steps between evaluations; 0: only at the end", ranges.STEPS_OR_ZERO
    )
    eval_episodes: int = _setting(
        30,
        "whole games of an evaluation, on up to 64 environments that play equally many, or nearly; "
        "0 evaluates never",
        ranges.COUNT_OR_ZERO,
    )
    eval_epsilon: float = _setting(0.01, "share of random actions in evaluations", ranges.SHARE)
    checkpoint_every_steps: int = _setting(
        250_000,
        "steps between checkpoints, beside those of the best evaluations; 0: only at the end",
        ranges.STEPS_OR_ZERO,
    )
    keep_checkpoints: int = _setting(
        3, "newest checkpoints kept; the best by evaluation stays too", ranges.COUNT
    )
    checkpoint_replay: bool = _setting(
        True, "keep the replay in checkpoints, so that a run goes on as if it had never stopped"
    )
    env_timeout_seconds: float = _setting(
        300.0,
        "seconds after which environments that do not answer are dead: the run saves and stops",
        ranges.POSITIVE,
    )
    env_lifetime_steps: int = _setting(
        31_250,
        "steps of each environment after which all are made anew, which ends their games; a run "
        "that goes on from a checkpoint plays again what came since; 0: they last for ever",
        ranges.STEPS_OR_ZERO,
    )
    record_every_steps: int = _setting(
        0, "steps between films of a game; 0: none", ranges.STEPS_OR_ZERO
    )
    record_every_episodes: int = _setting(
        0, "games of training between films; 0: none", ranges.COUNT_OR_ZERO
    )
    held_out_observations: int = _setting(
        512,
        "observations of random play whose action values are followed; 0: none",
        ranges.at_most(2**16, least=0),
    )
    log_every_steps: int = _setting(10_000, "steps between rows of metrics", ranges.STEPS)

    def __post_init__(self) -> None:
        """Refuses what cannot be."""
        for field in dataclasses.fields(self):
            value, allowed = getattr(self, field.name), field.metadata["range"]
            if allowed and value is not None:
                many = isinstance(value, tuple)
                holds = all(map(allowed.holds, value)) if many else allowed.holds(value)
                right = f"each {allowed.text}" if many else allowed.text
                _require(holds, field.name, f"is {value!r}; {right}")
        _require(
            self.learning_rate_end is not None or not self.learning_rate_decay_steps,
            "learning_rate_decay_steps",
            f"is {self.learning_rate_decay_steps}; --learning_rate_end says where it leads",
        )
        _require(
            any(
                (self.target_period_updates, self.target_period_steps, self.target_period_episodes)
            ),
            "target_period_updates",
            "is 0; one of the target's periods must be at least 1",
        )
        _require(
            (self.frame_skip_min or 1) <= (self.frame_skip or 4),
            "frame_skip_min",
            f"is {self.frame_skip_min}; at most --frame_skip={self.frame_skip or 4}",
        )
        self._check_network()
        self._check_replay()
        if self.algorithm == "sweep":
            _require(self.n_step == 1, "n_step", f"is {self.n_step}; a sweep is not summed: 1")
        self._check_counts()
        _require(
            self.updates_per_slice <= max(1, self.planned_updates),
            "updates_per_slice",
            f"is {self.updates_per_slice}; the whole run has {self.planned_updates} updates",
        )

    def _check_counts(self) -> None:
        """Sees to it that what devices count over the whole run stays below 2**31."""
        # The shortest game is one step, which has two rows. Sampling looks ahead of a row.
        rows = (2 * self.total_steps + self.replay_capacity) // self.group_size
        for setting, what, count in (
            ("total_steps", "updates", self.planned_updates),
            ("total_steps", "rows of the replay", rows),
            ("learning_rate_decay_steps", "updates", self.decay_updates),
        ):
            _require(
                count < 2**31,
                setting,
                f"is {getattr(self, setting)}, which makes {count:,} {what}; below 2**31. More "
                "--num_envs make fewer rows, more --steps_per_update fewer updates",
            )

    def _check_network(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in _CONVOLUTIONS}
        told = ", ".join(f"--{name} has {length}" for name, length in lengths.items())
        numbers = set(lengths.values())
        if self.network == "conv":
            _require(
                len(numbers) == 1 and numbers != {0},
                "conv_features",
                f"{told}; --network=conv needs equally many of each",
            )
        else:
            _require(
                numbers == {0},
                "network",
                f"is {self.network}, but {told}; convolutions of these need --network=conv",
            )

    def _check_replay(self) -> None:
        capacity, envs = self.replay_capacity, self.num_envs
        _require(
            self.batch_size <= capacity,
            "batch_size",
            f"is {self.batch_size}, more than the replay holds (--replay_capacity={capacity})",
        )
        _require(
            capacity % envs == 0,
            "replay_capacity",
            f"is {capacity}, which --num_envs={envs} does not divide; "
            f"nearest: {nearest_multiples(capacity, envs)}",
        )
        smallest = envs * (self.frame_stack + self.n_step + 1)
        _require(
            capacity >= smallest,
            "replay_capacity",
            f"is {capacity}; --num_envs={envs} with --frame_stack={self.frame_stack} and "
            f"--n_step={self.n_step} needs at least {smallest}",
        )
        if self.algorithm == "sweep":  # it learns when its memory is full enough
            return
        smallest_start = max(self.batch_size, smallest)
        _require(
            smallest_start <= self.learning_starts_steps,
            "learning_starts_steps",
            f"is {self.learning_starts_steps}; a first batch needs at least {smallest_start}",
        )
        _require(
            self.learning_starts_steps <= capacity,
            "learning_starts_steps",
            f"is {self.learning_starts_steps}, more than the replay holds "
            f"(--replay_capacity={capacity})",
        )

    @property
    def planned_updates(self) -> int:
        """Updates that fall due in the whole run."""
        return max(0, self.total_steps - self.learning_starts_steps) // self.steps_per_update

    @property
    def decay_updates(self) -> int:
        """Updates after which the learning rate has decayed."""
        steps = self.learning_rate_decay_steps
        return max(1, steps // self.steps_per_update if steps else self.planned_updates)

    @property
    def num_groups(self) -> int:
        """Groups of environments that take turns: one emulates while the other is served."""
        return 2 if self.num_envs % 2 == 0 else 1

    @property
    def group_size(self) -> int:
        """Environments in one group."""
        return self.num_envs // self.num_groups

    @property
    def slice_updates(self) -> int:
        """Updates that the device runs in one go."""
        return self.updates_per_slice or max(1, self.group_size // self.steps_per_update)

    @property
    def env_options(self) -> dict[str, Any]:
        """What the environment is told; only what a preset or the user set."""
        options = {name: getattr(self, name) for name in _ENV_OPTIONS}
        return {name: value for name, value in options.items() if value is not None}


def from_stored(stored: Mapping[str, Any]) -> Config:
    """The settings of a run as its `config.json` holds them.

    A setting that came after the run began has its default, the only value that it could have then.

    Raises:
      ValueError: a setting that this version does not have, or a value that cannot be.
    """
    hints = typing.get_type_hints(Config)
    values: dict[str, Any] = {}
    for name, value in stored.items():
        if name not in hints:
            raise ValueError(f"the setting {name} is not one of this version")
        value = tuple(value) if isinstance(value, list) else value
        if not _fits(value, hints[name]):
            raise ValueError(f"the setting {name} is {value!r}")
        values[name] = value
    return Config(**values)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON is of the kind that a field holds."""
    if isinstance(hint, types.UnionType):
        return any(_fits(value, choice) for choice in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        (item,) = {*typing.get_args(hint)} - {...}
        return isinstance(value, tuple) and all(_fits(part, item) for part in value)
    if isinstance(value, bool):  # which is an int to Python
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def nearest_multiples(value: int, factor: int) -> str:
    """The multiples of `factor` around `value`, for a message: '96 or 128'."""
    below = value // factor * factor
    return f"{below} or {below + factor}" if below else str(factor)


def _require(condition: object, setting: str, problem: str) -> None:
    if not condition:
        raise errors.SettingError(setting, problem)


_ENV_OPTIONS = (
    "frame_skip",
    "frame_skip_min",
    "noop_max",
    "repeat_action_probability",
    "full_action_space",
    "use_fire_reset",
    "img_height",
    "img_width",
    "max_episode_steps",
)
_CONVOLUTIONS = ("conv_features", "conv_sizes", "conv_strides")
