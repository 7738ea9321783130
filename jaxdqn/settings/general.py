"""The presets that are this project's own, among them the default of each game."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxdqn.settings import atari


class Preset(NamedTuple):
    """Settings that differ from the defaults of `Config`."""

    settings: Mapping[str, Any]
    expected: str  # command, hardware, time, score, seeds, date
    env: str = ""  # the game that it is for; '' if it is for several
    group: str = "Defaults"  # under which it is listed; '' if it is not
    on_cpu: str = ""  # what suits a CPU better, in words
    on_accelerator: str = ""

    @property
    def is_for_atari(self) -> bool:
        """Whether its game, or each of its games, is one of Atari."""
        return "frame_skip" in self.settings

    @property
    def games(self) -> str:
        """What it is for, in words."""
        return self.env or ("any Atari game" if self.is_for_atari else "any game")


_CLASSIC: Mapping[str, Any] = {
    "total_steps": 50_000,
    "num_envs": 8,
    "replay_capacity": 100_000,
    "learning_starts_steps": 1_000,
    "batch_size": 64,
    "steps_per_update": 2,
    "network": "mlp",
    "hidden_sizes": (256, 256),
    "n_step": 5,
    # With a reward of 1 a step, values reach a hundred, and the Huber loss would be linear.
    "reward_scale": 0.1,
    "learning_rate": 3e-3,
    "learning_rate_end": 0.0,
    "target_tau": 0.01,
    "epsilon_end": 0.04,
    "epsilon_decay_steps": 8_000,
    "eval_every_steps": 5_000,
    "eval_episodes": 100,
    "eval_epsilon": 0.0,
    "checkpoint_every_steps": 5_000,
    "log_every_steps": 1_000,
}

# At 20,000 steps/s a row of metrics comes every 5 s, a checkpoint every 50 s, and an evaluation of
# 30 whole games every two minutes.
_ATARI_ON_GPUS: Mapping[str, Any] = {
    **atari.ATARI,
    "num_envs": 256,
    "target_period_updates": 1,
    "compute_dtype": "bfloat16",
    "log_every_steps": 100_000,
    "checkpoint_every_steps": 1_000_000,
    "eval_every_steps": 2_500_000,
}

_FOR_CPUS = "on a CPU, laptop learns more in an hour"

GENERAL: Mapping[str, Preset] = {
    # Double DQN at the cadence of Mnih et al. (2015): 32 transitions every 4 steps, 1M frames.
    "atari": Preset(
        settings=atari.ATARI,
        expected="Breakout, seed 0: 101 after 1M steps (30 games), 2 cores of an EPYC, 2026-11-21; "
        "seed 2: 28.7 after 350k steps; seed 0: Pong -16.5, SpaceInvaders 298 after 300k; an "
        "H200, 2026-11-27; longer runs and other games not yet run",
        on_cpu=_FOR_CPUS,
    ),
    # What learns most in an hour on two cores: half as many samples per step, and a network with
    # a third of the arithmetic, so several times as many steps.
    "laptop": Preset(
        settings={
            **atari.ATARI,
            "total_steps": 1_000_000,
            "replay_capacity": 300_000,
            "network": "small",
            "hidden_sizes": (256,),
            "steps_per_update": 8,
            "learning_rate": 2.5e-4,
            "epsilon_decay_steps": 100_000,
            "eval_every_steps": 100_000,
            "checkpoint_every_steps": 100_000,
        },
        expected="Breakout, 3 seeds: 40.2, 57.2 and 62.7 after 1M steps (30 games); a core of an "
        "EPYC for each; seed 0: SpaceInvaders 452 and Pong -17.7 after 1M, Qbert 953, MsPacman 641 "
        "and Freeway 0 after 600k, BeamRider 1,113 after 400k; 2026-11-28; longer runs and other "
        "games not yet run",
        on_accelerator="atari_fast is for accelerators",
    ),
    # As many samples per step in fewer, larger updates, which keep an accelerator busy.
    "atari_fast": Preset(
        settings={
            **_ATARI_ON_GPUS,
            "batch_size": 512,
            "steps_per_update": 64,
            "learning_rate": 4e-4,  # four times as large for a batch sixteen times as large
            "target_tau": 0.08,  # 64 steps at a time, the same mean lag of 800 steps
        },
        expected="Breakout, seed 0: 200 after 2.2M steps (30 games), 2.5 minutes on an H200 with "
        "16 cores, 2026-11-26; Pong, seed 0: -12 in training after 1.6M steps, 2026-11-27; longer "
        "runs and other games not yet run",
        on_cpu=_FOR_CPUS,
    ),
    # Between both: batches that a GPU learns from as fast as 16 cores play.
    "atari_gpu": Preset(
        settings={
            **_ATARI_ON_GPUS,
            "batch_size": 128,
            "steps_per_update": 16,
            "learning_rate": 2e-4,  # twice as large for a batch four times as large
            "target_tau": 0.02,  # 16 steps at a time, the same mean lag of 800 steps
        },
        expected="14,800 steps/s on an H200 with 16 cores; Breakout, seed 0: 45 in training after "
        "700k steps, 2026-11-27; longer runs and other games not yet run",
        on_cpu=_FOR_CPUS,
    ),
    "classic": Preset(
        settings=_CLASSIC,
        expected="CartPole: see opensourc_cartpole, which has the same settings; other games not "
        "yet run with them",
    ),
    "cartpole": Preset(
        settings={
            **_CLASSIC,
            "num_envs": 32,
            "batch_size": 128,
            "steps_per_update": 8,
            "updates_per_slice": 8,
            "hidden_sizes": (64, 64),
            "n_step": 10,
            "target_tau": 0.03,
            "epsilon_end": 0.1,
            "epsilon_decay_steps": 20_000,
            "eval_every_steps": 50_000,
            "checkpoint_every_steps": 50_000,
            "log_every_steps": 5_000,
        },
        expected="10 seeds: 475 or more after 50k steps (100 greedy games); 10.4 to 17.3 s each, "
        "including start-up, with compiled programs in the cache for all but the first; 2 cores of "
        "an Intel Xeon, 2026-11-26",
        env="CartPole",
    ),
    "mountaincar": Preset(
        settings={
            **_CLASSIC,
            "total_steps": 220_000,
            "num_envs": 128,
            "learning_starts_steps": 2_000,
            "steps_per_update": 8,
            "updates_per_slice": 32,
            "hidden_sizes": (64, 64),
            "n_step": 10,
            "learning_rate": 5e-3,
            "target_tau": 0.03,
            # Single random actions undo each other at the bottom of the valley; lasting ones swing.
            "explore_max_steps": 64,
            "epsilon_start": 0.5,
            "epsilon_end": 0.01,
            "epsilon_decay_steps": 30_000,
            "eval_every_steps": 220_000,
            "checkpoint_every_steps": 220_000,
            "log_every_steps": 20_000,
        },
        expected="20 seeds: -98 to -106 after 220k steps (100 greedy games); 13.5 to 18 s for each "
        "of ten, including start-up, with compiled programs in the cache for all but the first; 2 "
        "cores of an Intel Xeon, 2026-11-26",
        env="MountainCar",
    ),
    "lunarlander": Preset(
        settings={
            **_CLASSIC,
            "total_steps": 300_000,
            "batch_size": 128,
            "steps_per_update": 4,
            "n_step": 3,
            "reward_scale": 0.02,  # returns reach 300, and a crash costs 100
            "learning_rate": 6e-4,
            "learning_rate_end": 1e-5,
            "epsilon_end": 0.02,
            "epsilon_decay_steps": 40_000,
            "eval_every_steps": 100_000,
            "checkpoint_every_steps": 100_000,
            "log_every_steps": 10_000,
        },
        expected="3 seeds: 273, 279 and 257 after 300k steps (100 greedy games), on 2 cores of an "
        "EPYC while other programs were running, 2026-11-28; gymnasium:LunarLander-v3, 3 seeds: "
        "244, 246 and 244, 2026-11-27",
        env="LunarLander",
    ),
    "classic_pqn": Preset(
        settings={
            "algorithm": "pqn",
            "total_steps": 200_000,
            "num_envs": 32,
            "rollout_steps": 64,
            "rollout_epochs": 4,
            "batch_size": 128,
            "trace_decay": 0.95,
            "network": "mlp",
            "hidden_sizes": (256, 256),
            "layer_norm": "channels",
            "reward_scale": 0.1,
            "loss": "mse",
            "loss_scale": 0.5,
            "optimizer": "radam",
            "learning_rate": 1e-3,
            "learning_rate_end": 0.0,
            "epsilon_end": 0.1,
            "epsilon_decay_steps": 100_000,
            "epsilon_decay_from_step": 0,
            "eval_every_steps": 25_000,
            "eval_episodes": 100,
            "eval_epsilon": 0.0,
            "checkpoint_every_steps": 25_000,
            "log_every_steps": 4_000,
        },
        expected="CartPole, 3 seeds: 475 or more after 75k to 100k steps, 500 at best (100 greedy "
        "games); 2 cores of an Intel Xeon, 2026-11-26; other games not yet run",
    ),
}
