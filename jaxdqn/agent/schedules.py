"""What changes with the steps of a run."""


def linear(step: int, *, start: float, end: float, begin_step: int = 0, decay_steps: int) -> float:
    """The value at an agent step: `start` up to `begin_step`, then linear to `end`, which stays."""
    if step <= begin_step:
        return start
    left = max(0.0, 1 - (step - begin_step) / decay_steps) if decay_steps else 0.0
    return end + left * (start - end)
