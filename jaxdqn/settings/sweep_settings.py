"""Backward sweeps. Their schedules count steps from the first one on."""

import dataclasses

from jaxdqn.settings import ranges, registries, setting

_SWEEPS = registries.ALGORITHMS.reading("sweeps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """Backward sweeps. Their schedules count steps from the first one on."""

    sweep_fraction_start: float = setting.setting(
        0.1, "share of the replay filled before the first sweep", ranges.PART, read_if=_SWEEPS
    )
    sweep_fraction_end: float = setting.setting(
        1.0, "that share at the end of its schedule", ranges.PART, read_if=_SWEEPS
    )
    sweep_loss_limit_start: float = setting.setting(
        0.1,
        "mean loss of the last 100 batches below which fitting stops, after its first epoch",
        ranges.NOT_NEGATIVE,
        read_if=_SWEEPS,
    )
    sweep_loss_limit_end: float = setting.setting(
        0.015, "that loss at the end of its schedule", ranges.NOT_NEGATIVE, read_if=_SWEEPS
    )
    sweep_max_epochs_start: float = setting.setting(
        5.0, "most epochs of fitting", ranges.POSITIVE, read_if=_SWEEPS
    )
    sweep_max_epochs_end: float = setting.setting(
        10.0, "most epochs at the end of their schedule", ranges.POSITIVE, read_if=_SWEEPS
    )
    sweep_decay_steps: int = setting.setting(
        5_000_000, "steps of these three schedules", ranges.STEPS_OR_ZERO, read_if=_SWEEPS
    )
    sweep_error_threshold: float = setting.setting(
        0.1, "change of a value above which an error is large", ranges.NOT_NEGATIVE, read_if=_SWEEPS
    )
    sweep_large_error_share: float = setting.setting(
        0.5, "least share of a batch with large errors", ranges.SHARE, read_if=_SWEEPS
    )
