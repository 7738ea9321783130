"""The settings of a run: one frozen dataclass, checked when it is created.

Every field is a flag of the same name (see `cli`), so names carry their units. A step is one agent
step of one environment; an Atari step is four frames unless `frame_skip` says otherwise.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from jaxdqn.settings import (
    checks,
    exploration_settings,
    game_settings,
    head_settings,
    learning_settings,
    munchausen_settings,
    network_settings,
    part_options,
    registries,
    replay_settings,
    report_settings,
    rollout_settings,
    setting,
    sweep_settings,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(
    report_settings.ReportSettings,
    exploration_settings.ExplorationSettings,
    sweep_settings.SweepSettings,
    rollout_settings.RolloutSettings,
    head_settings.HeadSettings,
    network_settings.NetworkSettings,
    munchausen_settings.MunchausenSettings,
    learning_settings.LearningSettings,
    replay_settings.ReplaySettings,
    game_settings.GameSettings,
):
    """All settings of a training run; each is described in its group.

    Raises:
      SettingError: a value is out of its range or does not fit another one.
    """

    def __post_init__(self) -> None:
        """Refuses invalid settings."""
        checks.check(self)

    @property
    def learns_by_updates(self) -> bool:
        """Whether the algorithm learns from the replay every `steps_per_update` steps."""
        return "updates" in registries.ALGORITHMS[self.algorithm].reads

    @property
    def uses_native_convolutions(self) -> bool:
        """Whether a CPU computes the network's convolutions in C++, if it has a compiler."""
        is_chain = "convolutions" in registries.ENCODERS[self.network].reads
        return is_chain and self.layer_norm == "none" and self.compute_dtype == "float32"

    @property
    def options(self) -> dict[str, part_options.Value]:
        """The options of the parts that are chosen, by name."""
        entries = [registry_of[name] for registry_of, name in checks.parts(self)]
        return part_options.values(entries, self.part_options)

    @property
    def first_learning_steps(self) -> int:
        """Steps that the replay holds, at least, when the run begins to learn."""
        return self.learning_starts_steps if self.learns_by_updates else self.batch_size

    @property
    def chosen_explorer(self) -> str:
        """The explorer, also where the settings leave it open."""
        return self.explorer or ("lasting" if self.explore_max_steps > 1 else "epsilon_greedy")

    @property
    def chosen_sampler(self) -> str:
        """The sampler, also where the algorithm draws nothing."""
        return Config.sampler if self.why_unread("sampler") else self.sampler

    @property
    def updates_per_rollout(self) -> int:
        """Number of minibatches over all epochs of a rollout."""
        return self.rollout_epochs * self.num_envs * self.rollout_steps // self.batch_size

    @property
    def planned_updates(self) -> int:
        """Number of updates in the whole run.

        Of algorithms that learn from rollouts, about as many: the row that opens a game takes a
        place in a rollout though it is no step, so short games make up to twice as many.
        """
        if "rollouts" in registries.ALGORITHMS[self.algorithm].reads:
            rollouts = self.total_steps // (self.num_envs * self.rollout_steps)
            return rollouts * self.updates_per_rollout
        return max(0, self.total_steps - self.learning_starts_steps) // self.steps_per_update

    @property
    def decay_updates(self) -> int:
        """Number of updates after which the learning rate has decayed."""
        steps = self.learning_rate_decay_steps
        return max(1, steps // self.steps_per_update if steps else self.planned_updates)

    @property
    def scheduled_to_the_end(self) -> str:
        """A setting by which something changes until the last step; '' for none."""
        ends = self.learning_rate_end not in (None, self.learning_rate)
        if ends and not self.learning_rate_decay_steps:
            return "learning_rate_end"
        changes = self.importance_end != self.importance_start
        return "importance_end" if changes and not self.why_unread("importance_end") else ""

    @property
    def num_groups(self) -> int:
        """Number of groups of environments that take turns."""
        return 2 if self.num_envs % 2 == 0 else 1

    @property
    def group_size(self) -> int:
        """Number of environments in one group."""
        return self.num_envs // self.num_groups

    @property
    def slice_updates(self) -> int:
        """Number of updates that the device runs at a time."""
        return self.updates_per_slice or max(1, self.group_size // self.steps_per_update)

    @property
    def env_options(self) -> dict[str, Any]:
        """Options for the environment: only those that a preset or the user set."""
        return {
            name: getattr(self, name)
            for name, described in setting.described(self).items()
            if described.is_env_option and getattr(self, name) is not None
        }

    def why_unread(self, name: str) -> str:
        """The setting with whose value a setting is not read, as `--setting=value`; '' for none."""
        for condition in setting.described(self)[name].read_if:
            value = getattr(self, condition.cause)
            if not condition.holds(value):
                return f"--{condition.cause}={value}"
            if cause := self.why_unread(condition.cause):
                return cause
        return ""


def from_stored(stored: Mapping[str, Any]) -> Config:
    """The settings of a run as its `config.json` holds them.

    A setting that was added after the run began has its default: what the run did until then.

    Raises:
      ValueError: a setting that this version does not have, or an invalid value.
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
