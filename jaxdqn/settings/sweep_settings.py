"""Backward sweeps. Their schedules count steps from the first one on."""

import dataclasses

from jaxdqn.settings import ranges, registries, setting

_SWEEPS = registries.ALGORITHMS.reading("sweeps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """Backward sweeps. Their schedules count steps from the first one on."""

    sweep_fraction_start: float = setting.setting(
        0.1,
        "share of the replay that is filled before the first sweep",
        ranges.PART,
        read_if=_SWEEPS,
    )
    sweep_fraction_end: float = setting.setting(
        1.0, "that share at the end of its schedule", ranges.PART, read_if=_SWEEPS
    )
    sweep_loss_limit_start: float = setting.setting(
        0.1,
        "after its first epoch, fitting stops when the mean loss of 100 batches is below this",
        ranges.NOT_NEGATIVE,
        read_if=_SWEEPS,
    )
    sweep_loss_limit_end: float = setting.setting(
        0.015, "that loss at the end of its schedule", ranges.NOT_NEGATIVE, read_if=_SWEEPS
    )
    sweep_max_epochs_start: float = setting.setting(
        5.0, "maximum number of epochs of a fit", ranges.POSITIVE, read_if=_SWEEPS
    )
    sweep_max_epochs_end: float = setting.setting(
        10.0,
        "maximum number of epochs at the end of the schedule",
        ranges.POSITIVE,
        read_if=_SWEEPS,
    )
    sweep_decay_steps: int = setting.setting(
        5_000_000,
        "steps of these three schedules (fraction, loss limit, epochs)",
        ranges.STEPS_OR_ZERO,
        read_if=_SWEEPS,
    )
    sweep_error_threshold: float = setting.setting(
        0.1,
        "an error is large if the value changed by more than this",
        ranges.NOT_NEGATIVE,
        read_if=_SWEEPS,
    )
    sweep_large_error_share: float = setting.setting(
        0.5, "smallest share of a batch that has large errors", ranges.SHARE, read_if=_SWEEPS
    )
