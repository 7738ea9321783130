"""The replay, and when the run learns from it."""

import dataclasses

from jaxdqn.settings import ranges, registries, setting

_UPDATES = registries.ALGORITHMS.reading("updates")
_PRIORITIES = (_UPDATES, registries.SAMPLERS.reading("priorities"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplaySettings:
    """The replay, and when the run learns from it."""

    replay_capacity: int = setting.setting(
        100_000, "steps that the replay holds, over all environments", ranges.STEPS, on_card=True
    )
    sampler: str = setting.setting(
        "uniform",
        f"how transitions are drawn from the replay. {registries.SAMPLERS.listing()}",
        registries.SAMPLERS.names,
        read_if=_UPDATES,
    )
    priority_exponent: float = setting.setting(
        0.6,
        "exponent (alpha) of priorities in sampling; 0: uniform sampling",
        ranges.SHARE,
        read_if=_PRIORITIES,
        on_card=True,
    )
    priority_epsilon: float = setting.setting(
        1e-6,
        "constant added to priorities, so that none is 0",
        ranges.POSITIVE,
        read_if=_PRIORITIES,
    )
    importance_start: float = setting.setting(
        0.4,
        "exponent (beta) of the importance weights at the first update; 1: full correction",
        ranges.SHARE,
        read_if=_PRIORITIES,
        on_card=True,
    )
    importance_end: float = setting.setting(
        1.0,
        "exponent (beta) of the importance weights at the last update",
        ranges.SHARE,
        read_if=_PRIORITIES,
        on_card=True,
    )
    batch_size: int = setting.setting(32, "transitions per update", ranges.COUNT, on_card=True)
    steps_per_update: int = setting.setting(
        4, "agent steps per update", ranges.COUNT, on_card=True, read_if=_UPDATES
    )
    updates_per_slice: int = setting.setting(
        0,
        "updates per device call; 0: as many as one step of a group of environments requires",
        ranges.COUNT_OR_ZERO,
        read_if=_UPDATES,
    )
    learning_starts_steps: int = setting.setting(
        20_000,
        "steps to collect before learning starts",
        ranges.STEPS_OR_ZERO,
        read_if=_UPDATES,
    )
    terminal_repeats: int = setting.setting(
        1,
        "sample the last step of a game this many times as often as other steps, unless a time "
        "limit ended the game",
        ranges.Range(lambda value: value in (1, 2, 3), "1, 2 or 3"),
        read_if=registries.SAMPLERS.reading("repeats"),
    )
    checkpoint_replay: bool = setting.setting(
        True, "keep the replay in checkpoints, so that a run resumes as if it had never stopped"
    )
