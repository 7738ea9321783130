"""Published agents for Atari games, with the constants of a reference.

All learn from batches of 32 every 4 steps and from a replay of a million, of 32 environments. They
play by the protocol of `atari.ATARI`: lost lives end returns, and actions are not sticky. They also
share its initializers. Dopamine's agents play with `--repeat_action_probability=0.25
--nolife_loss_ends --noop_max=1 --nouse_fire_reset`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Agent(NamedTuple):
    """Settings that differ from those of `atari.ATARI`."""

    settings: Mapping[str, Any]
    expected: str  # reference, how this differs from it, what it should produce


def _hard_copies(steps: int) -> dict[str, Any]:
    """A target network that is copied every so many steps."""
    return {"target_tau": 1.0, "target_period_updates": 0, "target_period_steps": steps}


_NATURE: Mapping[str, Any] = {
    "optimizer": "rmsprop",
    "learning_rate": 2.5e-4,
    "optimizer_epsilon": 0.01,
    "max_grad_norm": 0.0,
    "learning_starts_steps": 50_000,
    "epsilon_end": 0.1,
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

AGENTS: Mapping[str, Agent] = {
    "nature_dqn": Agent(
        _NATURE, "DQN of Mnih et al. (2015); the target is copied every 10,000 steps; not yet run"
    ),
    "double_dqn": Agent(
        _DOUBLE,
        "tuned double DQN of van Hasselt et al. (2016), with one bias an action; not yet run",
    ),
    "dueling": Agent(
        {**_DOUBLE, "dueling": True, "learning_rate": 6.25e-5, "max_grad_norm": 10.0},
        "dueling double DQN of Wang et al. (2016); gradients of the convolutions are not scaled; "
        "not yet run",
    ),
    "c51": Agent(
        {**_DOPAMINE, "head": "c51", "learning_rate": 2.5e-4},
        "C51 of Bellemare et al. (2017) with Dopamine's constants; not yet run",
    ),
    "qr_dqn": Agent(
        {**_DOPAMINE, "head": "qr", "num_quantiles": 200, "learning_rate": 5e-5},
        "QR-DQN of Dabney et al. (2018a) with Dopamine's constants, but one-step returns and "
        "uniform draws as in the paper; not yet run",
    ),
    "iqn": Agent(
        {**_DOPAMINE, "head": "iqn", "num_quantiles": 64, "learning_rate": 5e-5},
        "IQN of Dabney et al. (2018b) with Dopamine's constants, but one-step returns as in the "
        "paper, and 64 quantiles to choose actions too; not yet run",
    ),
    "hl_gauss": Agent(
        {**_DOPAMINE, "head": "hl_gauss", "learning_rate": 2.5e-4},
        "HL-Gauss of Farebrother et al. (2024) with the constants of C51; not yet run",
    ),
}
