"""Learning from rollouts: a short memory of the newest steps."""

import dataclasses

from jaxdqn.settings import ranges, registries, setting

_ROLLOUTS = registries.ALGORITHMS.reading("rollouts")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RolloutSettings:
    """Learning from rollouts: a short memory of the newest steps."""

    rollout_steps: int = setting.setting(
        32,
        "steps of each environment in one rollout",
        ranges.at_most(100_000),
        on_card=True,
        read_if=_ROLLOUTS,
    )
    rollout_epochs: int = setting.setting(
        2,
        "passes over each rollout",
        ranges.at_most(1_000),
        on_card=True,
        read_if=_ROLLOUTS,
    )
    trace_decay: float = setting.setting(
        0.65,
        "lambda of lambda returns; 0: one-step returns",
        ranges.SHARE,
        on_card=True,
        read_if=_ROLLOUTS,
    )
