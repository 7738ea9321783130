"""Published agents for Atari games, with the constants of a reference.

Where they do not say otherwise, they learn from batches of 32 every 4 steps and from a replay of a
million, of 32 environments. They play by the protocol of `atari.ATARI`: lost lives end returns,
FIRE is pressed at the start, and actions are not sticky. They also share its initializers. Each has
a twin, NAME_sticky, that plays by the protocol of Machado et al. (arXiv:1709.06009) with Dopamine's
choices.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Agent(NamedTuple):
    """Settings that differ from those of `atari.ATARI`."""

    settings: Mapping[str, Any]
    expected: str  # reference, how this differs from it, what it should produce


# The protocol of Machado et al. as Dopamine has it: the smallest set of actions, one no-op.
STICKY: Mapping[str, Any] = {
    "repeat_action_probability": 0.25,
    "life_loss_ends": False,
    "noop_max": 1,
    "use_fire_reset": False,
}


def _hard_copies(steps: int) -> dict[str, Any]:
    """A target network that is copied every so many steps."""
    return {"target_tau": 1.0, "target_period_updates": 0, "target_period_steps": steps}


_NATURE: Mapping[str, Any] = {
    "optimizer": "rmsprop",
    "learning_rate": 2.5e-4,
    # The paper's 0.01 belongs to the square of a gradient that is summed over a batch of 32. Here
    # it is the mean, as in DQN Zoo, whose constant this is.
    "optimizer_epsilon": 0.01 / 32**2,
    "max_grad_norm": 0.0,
    "learning_starts_steps": 50_000,
    "epsilon_end": 0.1,
    "epsilon_decay_steps": 1_000_000,  # of the agent, as in the paper's code and in DQN Zoo
    "eval_epsilon": 0.05,
    "double_q": False,
    **_hard_copies(10_000),
}
_DOUBLE: Mapping[str, Any] = {
    **_NATURE,
    "double_q": True,
    "epsilon_end": 0.01,
    "eval_epsilon": 0.001,
    **_hard_copies(30_000),
}
# Of the agents of Dopamine, whose optimizer is Adam.
_DOPAMINE: Mapping[str, Any] = {
    "optimizer_epsilon": 0.01 / 32,
    "max_grad_norm": 0.0,
    "eval_epsilon": 0.001,
    "double_q": False,
    **_hard_copies(8_000),
}
_MUNCHAUSEN: Mapping[str, Any] = {
    **{name: value for name, value in _DOPAMINE.items() if name != "double_q"},
    "algorithm": "munchausen",
    "learning_rate": 5e-5,
}
_RAINBOW: Mapping[str, Any] = {
    **_DOPAMINE,
    "head": "c51",
    "n_step": 3,
    "sampler": "prioritized",
    "priority_exponent": 0.5,
    "learning_rate": 6.25e-5,
    "optimizer_epsilon": 1.5e-4,
}
_PQN: Mapping[str, Any] = {
    "algorithm": "pqn",
    "num_envs": 128,
    "rollout_steps": 32,
    "rollout_epochs": 2,
    "batch_size": 128,
    "trace_decay": 0.65,
    "layer_norm": "channels",
    "loss": "mse",
    "loss_scale": 0.5,
    "optimizer": "radam",
    "learning_rate": 2.5e-4,
    "max_grad_norm": 10.0,
    "epsilon_end": 0.001,
    "epsilon_decay_steps": 1_000_000,
    "epsilon_decay_from_step": 0,
    "eval_epsilon": 0.001,
}
_NOISE_ALONE: Mapping[str, Any] = {"noisy": True, "epsilon_start": 0.0, "epsilon_end": 0.0}

AGENTS: Mapping[str, Agent] = {
    "nature_dqn": Agent(
        _NATURE,
        "DQN of Mnih et al. (2015) with DQN Zoo's units for its constants; the target network is "
        "copied every 10,000 steps; not yet run",
    ),
    "double_dqn": Agent(
        _DOUBLE,
        "tuned double DQN of van Hasselt et al. (2016), with one bias for each action; not yet run",
    ),
    "dueling": Agent(
        {**_DOUBLE, "dueling": True, "learning_rate": 6.25e-5, "max_grad_norm": 10.0},
        "dueling double DQN of Wang et al. (2016), who only say that their learning rate is lower "
        "than that of double DQN; gradients of the convolutions are not scaled, and the norm that "
        "is clipped is that of the mean gradient over the batch; not yet run",
    ),
    "c51": Agent(
        {**_DOPAMINE, "head": "c51", "learning_rate": 2.5e-4},
        "C51 of Bellemare et al. (2017) with Dopamine's constants; Breakout, seed 0: 32.8 after "
        "500k steps (30 games); 2 cores of a Xeon, 2026-11-26; longer runs and other games not "
        "yet run",
    ),
    "qr_dqn": Agent(
        {**_DOPAMINE, "head": "qr", "num_quantiles": 200, "learning_rate": 5e-5},
        "QR-DQN of Dabney et al. (2018a) with Dopamine's constants, but one-step returns and "
        "uniform sampling as in the paper; Breakout, seed 0: 11.5 after 500k steps (30 games), 2 "
        "cores of an EPYC; 31.5 after 924k, and 136 with --learning_rate=2.5e-4, an H200; "
        "2026-11-27; longer runs and other games not yet run",
    ),
    "iqn": Agent(
        {**_DOPAMINE, "head": "iqn", "num_quantiles": 64, "learning_rate": 5e-5},
        "IQN of Dabney et al. (2018b) with Dopamine's constants, but one-step returns as in the "
        "paper, and 64 quantiles also for choosing actions; Breakout, seed 0: 10.3 after 481k "
        "steps (30 games); an H200, 2026-11-27; longer runs and other games not yet run",
    ),
    "hl_gauss": Agent(
        {**_DOPAMINE, "head": "hl_gauss", "learning_rate": 2.5e-4},
        "HL-Gauss of Farebrother et al. (2024) with the constants of C51; not yet run",
    ),
    "munchausen": Agent(
        _MUNCHAUSEN,
        "Munchausen DQN of Vieillard et al. (2020) with the Huber loss of its code; Breakout, seed "
        "0, with --loss=mse: 8.5 after 500k steps (30 games); 2 cores of an EPYC, 2026-11-27; "
        "longer runs and other games not yet run",
    ),
    "m_iqn": Agent(
        {**_MUNCHAUSEN, "head": "iqn", "num_quantiles": 64},
        "Munchausen IQN of Vieillard et al. (2020), with 64 quantiles also for the policy, and "
        "greedy actions (its code samples them from the policy); not yet run",
    ),
    "rainbow": Agent(
        {
            **_RAINBOW,
            **_NOISE_ALONE,
            "double_q": True,
            "dueling": True,
            "max_grad_norm": 10.0,
            "eval_epsilon": 0.0,
        },
        "Rainbow of Hessel et al. (2018), with separate noise for each transition; priorities are "
        "divergences, as in the paper (most code uses cross-entropies); Breakout, seed 0: 30 in "
        "training after 500k steps (greedy games without noise repeat, and score 11 to 338); an "
        "H200, 2026-11-27; longer runs and other games not yet run",
    ),
    "rainbow_dopamine": Agent(
        {**_RAINBOW, "importance_start": 0.5, "importance_end": 0.5},
        "Dopamine's Rainbow, which is C51 with three-step returns and prioritized replay; "
        "priorities are divergences, which fall to 0, instead of cross-entropies; not yet run",
    ),
    "pqn": Agent(
        _PQN,
        "PQN of Gallici et al. (2024), with time limits that do not end games, and 0.1% random "
        "actions in evaluations (none in its code); epsilon decays in 1M steps, 10% of 10M. "
        "Breakout, seed 0, with --epsilon_decay_steps=100000: 18 after 1M steps (30 games); 2 "
        "cores of an Intel Xeon, 2026-11-26",
    ),
    "hadamax_pqn": Agent(
        {**_PQN, "network": "hadamax"},
        "PQN with the encoder of Kooi et al. (2025) and its GELU in all layers; not yet run",
    ),
    "btr": Agent(
        {
            "algorithm": "munchausen",
            "head": "iqn",
            "num_quantiles": 8,
            "network": "impala",
            "impala_width": 2,
            "pooled_size": 6,
            "spectral_norm": True,
            "dueling": True,
            "noisy": True,
            "n_step": 3,
            "discount": 0.997,
            "sampler": "prioritized",
            "priority_exponent": 0.2,
            "importance_start": 0.45,
            "importance_end": 0.45,
            "num_envs": 64,
            "batch_size": 256,
            "steps_per_update": 64,
            "learning_starts_steps": 200_000,
            "learning_rate": 1e-4,
            "optimizer_epsilon": 0.005 / 256,
            "epsilon_decay_steps": 2_000_000,
            "epsilon_decay_from_step": 0,
            "target_tau": 1.0,
            "target_period_updates": 500,
            "replay_capacity": 1_048_576,
        },
        "Beyond the Rainbow of Clark et al. (2025). Here the bonus is that of the target network's "
        "policy, importance weights have an exponent of 0.45 (its code sets beta = 0.45 but uses "
        "alpha, 0.2), priorities are errors of the mean (in its code, means over the errors of all "
        "pairs of quantiles), and epsilon falls linearly over 2M steps (in its code exponentially, "
        "and random actions end after 25M); lost lives end returns, as in its code on request; its "
        "published scores are with sticky actions; Breakout, seed 0, with an epsilon that started "
        "to fall at step 200k: 4.4 in training after 700k steps, with three of four actions "
        "random; an H200, 2026-11-27; longer runs and other games not yet run",
    ),
}
