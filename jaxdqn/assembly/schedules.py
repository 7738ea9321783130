"""Values that change with the steps of a run."""

from jaxdqn.settings import config as config_lib


def linear(step: int, *, start: float, end: float, begin_step: int = 0, decay_steps: int) -> float:
    """The value at an agent step: `start` until `begin_step`, then linear to `end`, which stays."""
    if step <= begin_step:
        return start
    left = max(0.0, 1 - (step - begin_step) / decay_steps) if decay_steps else 0.0
    return end + left * (start - end)


def epsilon(config: config_lib.Config, steps: int) -> float:
    """Epsilon at an agent step of the run."""
    begin_step = config.epsilon_decay_from_step
    if begin_step is None:
        begin_step = config.learning_starts_steps if config.learns_by_updates else 0
    return linear(
        steps,
        start=config.epsilon_start,
        end=config.epsilon_end,
        begin_step=begin_step,
        decay_steps=config.epsilon_decay_steps,
    )


def learning_rate(config: config_lib.Config, steps: int) -> float:
    """The learning rate at an agent step, of algorithms whose decay begins with the run."""
    if config.learning_rate_end is None:
        return config.learning_rate
    return linear(
        steps,
        start=config.learning_rate,
        end=config.learning_rate_end,
        decay_steps=config.learning_rate_decay_steps or config.total_steps,
    )
