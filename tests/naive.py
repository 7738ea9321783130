"""A replay in plain Python: whole streams in lists, no ring, no masks."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Moment:
    frame: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    is_first: bool
    life_lost: bool
    action: int


def stack(stream, t, height):
    """The stack at time t, walking back frame by frame until a game's first one."""
    frames, at = [], t
    for _ in range(height):
        frames.append(stream[at].frame)
        if not stream[at].is_first:
            at -= 1
    return np.stack(frames[::-1])


def transition(stream, t, height, n_step, discount, reward_clip, life_loss_ends):
    """Observation, action, n-step reward, bootstrap discount, next observation."""
    total, gamma, at = 0.0, 1.0, t
    for _ in range(n_step):
        at += 1
        reward = stream[at].reward
        if reward_clip:
            reward = min(max(reward, -reward_clip), reward_clip)
        total += gamma * reward
        gamma *= discount
        if stream[at].terminated or (life_loss_ends and stream[at].life_lost):
            gamma = 0.0
            break
        if stream[at].truncated:
            break
    return stack(stream, t, height), stream[t].action, total, gamma, stack(stream, at, height)


def may_start(stream, t):
    """Whether a transition starts at t: not where the environment ignores the action."""
    return not (stream[t].terminated or stream[t].truncated)
