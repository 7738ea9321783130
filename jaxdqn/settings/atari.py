"""The protocol and the network of Mnih et al. (2015), which presets for Atari games begin with."""

from collections.abc import Mapping
from typing import Any

from jaxdqn.envs import api

ATARI: Mapping[str, Any] = {
    "frame_stack": 4,
    "frame_skip": api.ATARI_FRAME_SKIP,
    "noop_max": 30,
    "repeat_action_probability": 0.0,
    "full_action_space": False,
    "use_fire_reset": True,
    "img_height": 84,
    "img_width": 84,
    "max_episode_steps": api.ATARI_MAX_STEPS,
    "reward_clip": 1.0,
    "life_loss_ends": True,
    "replay_capacity": 1_000_000,
    "network": "nature",
    # The same mean lag as a hard copy every 1,600 steps, at a tenth of the cost of moving the
    # target after every update.
    "target_tau": 0.05,
    "target_period_updates": 10,
}
