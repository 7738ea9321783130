"""Random actions in training."""

import dataclasses

from jaxdqn.settings import ranges, registries, setting

_LASTING = registries.EXPLORERS.reading("lasting")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplorationSettings:
    """Random actions in training."""

    explorer: str | None = setting.setting(
        None,
        "how long random actions last (default: lasting where --explore_max_steps is above 1). "
        f"{registries.EXPLORERS.listing()}",
        registries.EXPLORERS.names,
    )
    epsilon_start: float = setting.setting(
        1.0, "probability that a random action begins, when learning starts", ranges.SHARE
    )
    epsilon_end: float = setting.setting(
        0.01, "probability that a random action begins, after the decay", ranges.SHARE
    )
    epsilon_decay_steps: int = setting.setting(
        250_000, "steps of the linear decay of epsilon", ranges.STEPS_OR_ZERO
    )
    epsilon_decay_from_step: int | None = setting.setting(
        None,
        "step at which epsilon starts to decay (default: when learning starts)",
        ranges.STEPS_OR_ZERO,
    )
    explore_max_steps: int = setting.setting(
        1,
        "maximum steps that a random action lasts; it lasts k or more with probability 1/k",
        ranges.COUNT,
        read_if=_LASTING,
    )
