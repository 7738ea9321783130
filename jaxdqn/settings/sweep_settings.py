"""Backward sweeps. Their schedules count steps from the first one on."""

import dataclasses

from jaxdqn.settings import ranges, registries, setting

_SWEEPS = registries.ALGORITHMS.reading("sweeps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """Backward sweeps. Their schedules count steps from the first one on."""

    sweep_fraction_start: float = setting.setting(
        0.1,
        "initial fraction of the replay to fill before a sweep",
        ranges.PART,
        read_if=_SWEEPS,
    )
    sweep_fraction_end: float = setting.setting(
        1.0,
        "fraction of the replay to fill before a sweep, after --sweep_decay_steps",
        ranges.PART,
        read_if=_SWEEPS,
    )
    sweep_loss_limit_start: float = setting.setting(
        0.1,
        "initial mean loss of 100 batches below which a fit ends (never in its first epoch)",
        ranges.NOT_NEGATIVE,
        read_if=_SWEEPS,
    )
    sweep_loss_limit_end: float = setting.setting(
        0.015,
        "mean loss of 100 batches below which a fit ends, after --sweep_decay_steps",
        ranges.NOT_NEGATIVE,
        read_if=_SWEEPS,
    )
    sweep_max_epochs_start: float = setting.setting(
        5.0, "initial maximum number of epochs of a fit", ranges.POSITIVE, read_if=_SWEEPS
    )
    sweep_max_epochs_end: float = setting.setting(
        10.0,
        "maximum number of epochs of a fit, after --sweep_decay_steps",
        ranges.POSITIVE,
        read_if=_SWEEPS,
    )
    sweep_decay_steps: int = setting.setting(
        5_000_000,
        "steps over which --sweep_fraction_*, --sweep_loss_limit_* and --sweep_max_epochs_* go "
        "from their first value to their last",
        ranges.STEPS_OR_ZERO,
        read_if=_SWEEPS,
    )
    sweep_error_threshold: float = setting.setting(
        0.1,
        "the error of a state is large if its value changes by more than this in a sweep",
        ranges.NOT_NEGATIVE,
        read_if=_SWEEPS,
    )
    sweep_large_error_share: float = setting.setting(
        0.5,
        "minimum fraction of states with large errors in a batch",
        ranges.SHARE,
        read_if=_SWEEPS,
    )
