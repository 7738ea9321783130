"""The settings of a run: one frozen dataclass, checked when it is made.

Every field is a flag of the same name (see `cli`), so units stand in the names. A step is one agent
step of one environment; an Atari step is four frames unless `frame_skip` says otherwise.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from jaxdqn import errors
from jaxdqn.settings import (
    exploration_settings,
    game_settings,
    learning_settings,
    network_settings,
    registries,
    replay_settings,
    report_settings,
    setting,
    sweep_settings,
)
from jaxdqn.settings import registry as registry_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(
    report_settings.ReportSettings,
    exploration_settings.ExplorationSettings,
    sweep_settings.SweepSettings,
    network_settings.NetworkSettings,
    learning_settings.LearningSettings,
    replay_settings.ReplaySettings,
    game_settings.GameSettings,
):
    """All settings of a training run; each is described in its group.

    Raises:
      SettingError: when a value is out of its range or does not fit another one.
    """

    def __post_init__(self) -> None:
        """Refuses what cannot be."""
        for name, described in setting.described(self).items():
            value, allowed = getattr(self, name), described.allowed
            if allowed and value is not None:
                many = isinstance(value, tuple)
                holds = all(map(allowed.holds, value)) if many else allowed.holds(value)
                right = f"each {allowed.text}" if many else allowed.text
                _require(holds, name, f"is {value!r}; {right}")
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
        for registry, name in self._parts():
            registry[name].check(self)
        self._check_counts()
        _require(
            self.updates_per_slice <= max(1, self.planned_updates),
            "updates_per_slice",
            f"is {self.updates_per_slice}; the whole run has {self.planned_updates} updates",
        )

    def _parts(self) -> list[tuple[registry_lib.Registry, str]]:
        """The parts that are chosen by name, each with its registry."""
        return [
            (registries.ALGORITHMS, self.algorithm),
            (registries.HEADS, self.head),
            (registries.ENCODERS, self.network),
            (registries.SAMPLERS, self.sampler),
            (registries.EXPLORERS, self.chosen_explorer),
        ]

    def _check_counts(self) -> None:
        """Sees to it that what devices count over the whole run stays below 2**31."""
        # The shortest game is one step, which has two rows. Sampling looks ahead of a row.
        rows = (2 * self.total_steps + self.replay_capacity) // self.group_size
        for name, what, count in (
            ("total_steps", "updates", self.planned_updates),
            ("total_steps", "rows of the replay", rows),
            ("learning_rate_decay_steps", "updates", self.decay_updates),
        ):
            _require(
                count < 2**31,
                name,
                f"is {getattr(self, name)}, which makes {count:,} {what}; below 2**31. More "
                "--num_envs make fewer rows, more --steps_per_update fewer updates",
            )

    def _check_network(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in _CONVOLUTIONS}
        told = ", ".join(f"--{name} has {length}" for name, length in lengths.items())
        numbers = set(lengths.values())
        if "chain" in registries.ENCODERS[self.network].reads:
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
        if not self.learns_by_updates:
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
    def learns_by_updates(self) -> bool:
        """Whether the algorithm learns from the replay every `steps_per_update` steps."""
        return "updates" in registries.ALGORITHMS[self.algorithm].reads

    @property
    def uses_convolutions(self) -> bool:
        """Whether the network begins with convolutions."""
        return "convolutions" in registries.ENCODERS[self.network].reads

    @property
    def first_learning_steps(self) -> int:
        """Steps that the replay holds, at least, when the run begins to learn."""
        return self.learning_starts_steps if self.learns_by_updates else self.batch_size

    @property
    def chosen_explorer(self) -> str:
        """The explorer, also where the settings leave it open."""
        return self.explorer or ("lasting" if self.explore_max_steps > 1 else "epsilon_greedy")

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
        return {
            name: getattr(self, name)
            for name, described in setting.described(self).items()
            if described.is_env_option and getattr(self, name) is not None
        }

    def why_unread(self, name: str) -> str:
        """The setting with whose value a setting is not read, as `--setting=value`; '' for none."""
        read_if = setting.described(self)[name].read_if
        if read_if is None:
            return ""
        value = getattr(self, read_if.cause)
        return (
            self.why_unread(read_if.cause) if read_if.holds(value) else f"--{read_if.cause}={value}"
        )


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
        if not setting.fits(value, hints[name]):
            raise ValueError(f"the setting {name} is {value!r}")
        values[name] = value
    return Config(**values)


def nearest_multiples(value: int, factor: int) -> str:
    """The multiples of `factor` around `value`, for a message: '96 or 128'."""
    below = value // factor * factor
    return f"{below} or {below + factor}" if below else str(factor)


def _require(condition: object, setting: str, problem: str) -> None:
    if not condition:
        raise errors.SettingError(setting, problem)


_CONVOLUTIONS = ("conv_features", "conv_sizes", "conv_strides")
