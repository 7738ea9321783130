"""Evaluations, checkpoints, films and metrics of a run."""

import dataclasses

from jaxdqn.settings import ranges, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Evaluations, checkpoints, films and metrics of a run."""

    eval_every_steps: int = setting.setting(
        250_000,
        "steps between evaluations; 0: only at the end",
        ranges.STEPS_OR_ZERO,
        splits_groups=False,
    )
    eval_episodes: int = setting.setting(
        30,
        "whole games per evaluation, shared as equally as possible among up to 64 environments; "
        "0: never evaluate",
        ranges.COUNT_OR_ZERO,
    )
    eval_epsilon: float = setting.setting(
        0.01, "probability of a random action in evaluations", ranges.SHARE
    )
    checkpoint_every_steps: int = setting.setting(
        250_000,
        "steps between checkpoints; 0: only at the end. A new best evaluation is saved as well",
        ranges.STEPS_OR_ZERO,
        splits_groups=False,
    )
    keep_checkpoints: int = setting.setting(
        3,
        "number of latest checkpoints to keep; the best by evaluation is kept too",
        ranges.COUNT,
        may_change=True,
        splits_groups=False,
    )
    record_every_steps: int = setting.setting(
        0, "steps between films of a game; 0: no films", ranges.STEPS_OR_ZERO, splits_groups=False
    )
    record_every_episodes: int = setting.setting(
        0, "training games between films; 0: no films", ranges.COUNT_OR_ZERO, splits_groups=False
    )
    held_out_observations: int = setting.setting(
        512,
        "observations of random play for the metric avg_max_q_value; 0: none",
        ranges.at_most(2**16, least=0),
        splits_groups=False,
    )
    log_every_steps: int = setting.setting(
        10_000, "steps between rows of metrics", ranges.STEPS, splits_groups=False
    )
