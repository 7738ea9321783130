"""Five published tutorial systems as presets; `docs/tutorials.md` describes each.

The plain name is the system with its faults fixed and its constants tuned. The name with `_literal`
has the tutorial's own constants, for study.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Tutorial(NamedTuple):
    """One system in one variant."""

    env: str  # the game that it plays
    base: str  # the general preset that its settings change; '' for the defaults
    settings: Mapping[str, Any]
    expected: str  # command, hardware, time, score, seeds, date


_KERAS_GLOROT: Mapping[str, Any] = {
    "conv_init": "glorot_uniform",
    "dense_init": "glorot_uniform",
}
# What the tutorials have in common: one environment, an update after every step from the first
# batch on, no clipping. In Keras, Adam has an epsilon of 1e-7.
_LITERAL: Mapping[str, Any] = {
    **_KERAS_GLOROT,
    "num_envs": 1,
    "steps_per_update": 1,
    "batch_size": 32,
    "learning_starts_steps": 32,
    "double_q": False,
    "max_grad_norm": 0.0,
    "optimizer_epsilon": 1e-7,
    "reward_clip": 0.0,
    "life_loss_ends": False,
    "target_tau": 1.0,
    "time_limit_ends": True,
}

_HVASS: Mapping[str, Any] = {
    "num_envs": 64,
    "algorithm": "sweep",
    "double_q": False,
    "motion_trace": True,
    "frame_stack": 1,
    "img_height": 105,
    "img_width": 80,
    "network": "conv",
    "conv_features": (16, 32, 64),
    "conv_sizes": (3, 3, 3),
    "conv_strides": (2, 2, 1),
    "conv_padding": "same",
    "hidden_sizes": (1024, 1024, 1024, 1024),
    "conv_init": "truncated_normal",
    "dense_init": "truncated_normal",
    "scale_pixels": False,
    "replay_capacity": 200_000,
    "batch_size": 128,
    "discount": 0.97,
    "optimizer": "rmsprop",
    "learning_rate": 1e-3,
    "learning_rate_end": 1e-5,
    "learning_rate_decay_steps": 5_000_000,
    "optimizer_epsilon": 1e-10,
    "rmsprop_decay": 0.9,
    "rmsprop_centred": False,
    "rmsprop_initial": 1.0,
    "max_grad_norm": 0.0,
    "epsilon_end": 0.1,
    "epsilon_decay_from_step": 0,
    "epsilon_decay_steps": 1_000_000,
    "eval_every_steps": 50_000,
    "checkpoint_every_steps": 50_000,
}

_ADVENTURES: Mapping[str, Any] = {
    "conv_init": "glorot_uniform",
    "dense_init": "he_normal",
    "network": "conv",
    "conv_features": (16, 32),
    "conv_sizes": (8, 4),
    "conv_strides": (4, 2),
    "hidden_sizes": (256,),
    "dueling": True,
    "img_height": 105,
    "img_width": 80,
    "replay_capacity": 200_000,
    "total_steps": 1_000_000,
    "eval_every_steps": 50_000,
    "checkpoint_every_steps": 50_000,
}

TUTORIALS: Mapping[str, Tutorial] = {
    # https://rubikscode.net: convolutional DQN on Breakout.
    "rubikscode_breakout": Tutorial(
        env="Breakout",
        base="atari",
        settings={
            **_KERAS_GLOROT,
            "total_steps": 1_000_000,
            "replay_capacity": 100_000,
            "eval_every_steps": 50_000,
            "checkpoint_every_steps": 50_000,
        },
        expected="seed 0: 35 after 500k steps (30 games), 56 at its best; random play 1.1; 40 "
        "minutes; 2 cores of an EPYC, 2026-11-21",
    ),
    "rubikscode_breakout_literal": Tutorial(
        env="Breakout",
        base="atari",
        settings={
            **_LITERAL,
            "total_steps": 200_000,
            "frame_stack": 1,
            "noop_max": 1,
            "use_fire_reset": False,
            "max_episode_steps": 1_000,
            "time_limit_ends": False,  # the cap was the training loop's, which continued
            "scale_pixels": False,
            "replay_capacity": 100_000,
            "discount": 0.6,
            "learning_rate": 0.01,
            "epsilon_start": 0.1,
            "epsilon_end": 0.1,
            "eval_epsilon": 0.1,
            "eval_episodes": 10,
            "target_period_updates": 0,
            "target_period_episodes": 1,
        },
        expected="not yet run",
    ),
    # https://github.com/Hvass-Labs/TensorFlow-Tutorials, number 16: backward sweeps on Breakout.
    "hvass_breakout": Tutorial(
        env="Breakout",
        base="atari",
        settings={**_HVASS, "total_steps": 1_200_000},
        expected="seed 0: 15 after 300k states (30 games); random play 1.1; 216 states/s; 2 cores "
        "of an EPYC, 2026-11-21",
    ),
    "hvass_breakout_literal": Tutorial(
        env="Breakout",
        base="atari",
        settings={
            **_HVASS,
            "num_envs": 1,
            "total_steps": 5_000_000,
            "noop_max": 1,
            "use_fire_reset": False,
            "max_episode_steps": 10_000,
            "repeat_action_probability": 0.25,
            "frame_skip_min": 2,
            "time_limit_ends": True,
        },
        expected="not yet run",
    ),
    # https://opensourc.es: a small network on CartPole.
    "opensourc_cartpole": Tutorial(
        env="CartPole",
        base="classic",
        settings={},
        expected="10 seeds: 500.0 on all after 50k steps (100 greedy games); 36 to 57 s each; "
        "2 cores of an EPYC, 2026-11-22",
    ),
    "opensourc_cartpole_literal": Tutorial(
        env="CartPole",
        base="",
        settings={
            **_LITERAL,
            "total_steps": 20_000,  # as in the printed log; the code has 10,000
            "hidden_sizes": (5, 5),
            "discount": 0.95,
            "loss": "mse",
            "learning_rate": 1e-3,
            "target_period_updates": 1,
            "terminal_reward": -50.0,
            "terminal_repeats": 2,  # stored twice
            "epsilon_start": 0.9,
            "epsilon_end": 0.05,
            "epsilon_decay_from_step": 0,
            "epsilon_decay_steps": 20_000,
            "eval_every_steps": 500,
            "eval_episodes": 20,
            "eval_epsilon": 0.0,
            "checkpoint_every_steps": 5_000,
            "log_every_steps": 500,
        },
        expected="5 seeds: 191 to 486 at their best evaluations, 110 to 486 at the end; 2 cores of "
        "an EPYC, 2026-11-22",
    ),
    # Toptal, A. Stelmaszczyk: MountainCar.
    "toptal_mountaincar": Tutorial(
        env="MountainCar",
        base="classic",
        settings={
            "total_steps": 120_000,
            "num_envs": 16,
            "learning_starts_steps": 2_000,
            "batch_size": 128,
            "steps_per_update": 4,
            "hidden_sizes": (128, 128),
            "n_step": 10,
            "learning_rate": 1e-3,
            # Single random actions undo each other at the bottom of the valley; lasting ones swing.
            "explore_max_steps": 64,
            "epsilon_start": 0.5,
            "epsilon_end": 0.01,
            "epsilon_decay_steps": 20_000,
            "eval_every_steps": 10_000,
            "checkpoint_every_steps": 10_000,
            "log_every_steps": 4_000,
        },
        expected="10 seeds: -100 to -104 after 120k steps (100 greedy games); 34 to 52 s each; "
        "2 cores of an EPYC, 2026-11-22",
    ),
    "toptal_mountaincar_literal": Tutorial(
        env="MountainCar",
        base="",
        settings={
            **_LITERAL,
            "total_steps": 200_000,
            "replay_capacity": 50_000,
            "batch_size": 64,
            "learning_starts_steps": 2_000,
            "hidden_sizes": (32, 32),
            "discount": 0.99,
            "loss": "mse",
            "loss_scale": 1 / 3,  # the mean over three outputs, of which one has an error
            "learning_rate": 1e-3,
            "max_grad_norm": 1.0,
            "clip_per_tensor": True,
            "target_period_updates": 0,
            "target_period_steps": 1_000,
            "epsilon_start": 0.01,
            "epsilon_end": 0.01,
            "eval_every_steps": 20_000,
            "eval_episodes": 50,
            "eval_epsilon": 0.0,
            "checkpoint_every_steps": 50_000,
            "log_every_steps": 2_000,
            "held_out_observations": 10_000,
        },
        expected="5 seeds: -98 to -103 at their best evaluations, -98 to -151 at the end; 2 cores "
        "of an EPYC, 2026-11-22",
    ),
    # https://adventuresinmachinelearning.com: dueling double DQN on Space Invaders.
    "adventures_spaceinvaders": Tutorial(
        env="SpaceInvaders",
        base="atari",
        settings={
            **_ADVENTURES,
        },
        expected="seed 0: 375 after 500k steps (30 games); random play 141; 36 minutes; 2 cores of "
        "an EPYC, 2026-11-21",
    ),
    "adventures_spaceinvaders_literal": Tutorial(
        env="SpaceInvaders",
        base="atari",
        settings={
            **_LITERAL,
            **_ADVENTURES,
            "double_q": True,
            "noop_max": 1,
            "use_fire_reset": False,
            "max_episode_steps": 10_000,
            "repeat_action_probability": 0.25,
            "frame_skip_min": 2,
            "learning_starts_steps": 50_000,
            "learning_rate": 1e-3,
            "target_tau": 0.08,
            "target_period_updates": 1,
            "epsilon_end": 0.1,
            "epsilon_decay_steps": 500_000,
        },
        expected="not yet run",
    ),
}
