"""Random actions in training."""

import dataclasses

from jaxdqn.settings import ranges, registries, setting

_LASTING = registries.EXPLORERS.reading("lasting")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplorationSettings:
    """Random actions in training."""

    explorer: str | None = setting.setting(
        None,
        "how long random actions last (default: lasting if --explore_max_steps is above 1, else "
        "epsilon_greedy). "
        f"{registries.EXPLORERS.listing()}",
        registries.EXPLORERS.names,
    )
    epsilon_start: float = setting.setting(
        1.0, "initial epsilon, the probability of starting a random action", ranges.SHARE
    )
    epsilon_end: float = setting.setting(
        0.01, "final epsilon, the probability of starting a random action", ranges.SHARE
    )
    epsilon_decay_steps: int = setting.setting(
        250_000, "steps over which epsilon decays linearly", ranges.STEPS_OR_ZERO
    )
    epsilon_decay_from_step: int | None = setting.setting(
        None,
        "step at which epsilon starts to decay (default: --learning_starts_steps; 0 for algorithms "
        "that do not read it)",
        ranges.STEPS_OR_ZERO,
    )
    explore_max_steps: int = setting.setting(
        1,
        "maximum number of steps for which a random action is repeated; it lasts k steps or more "
        "with probability 1/k",
        ranges.COUNT,
        read_if=_LASTING,
    )
