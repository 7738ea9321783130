"""The parts that this package has, by name. One line registers one; its file has the rest."""

from typing import Any

from jaxdqn import errors
from jaxdqn.settings import registry


def _check_sweep(config: Any) -> None:
    if "td_loss" not in HEADS[config.head].reads:
        raise errors.SettingError("head", f"is {config.head}; must be scalar for sweeps")
    if config.n_step != 1:
        raise errors.SettingError("n_step", f"is {config.n_step}; must be 1 for sweeps")


def _check_rollouts(config: Any) -> None:
    if config.n_step != 1:
        raise errors.SettingError("n_step", f"is {config.n_step}; must be 1 for pqn")
    # Of each group: stacks of the first steps, the steps, and the state that they lead to.
    smallest = config.num_envs * (config.frame_stack + config.rollout_steps)
    if config.replay_capacity < smallest:
        raise errors.SettingError(
            "replay_capacity",
            f"is {config.replay_capacity}; --num_envs={config.num_envs} with --rollout_steps="
            f"{config.rollout_steps} and --frame_stack={config.frame_stack} needs {smallest}",
        )
    steps = config.num_envs * config.rollout_steps
    if steps % config.batch_size:
        raise errors.SettingError(
            "batch_size",
            f"is {config.batch_size}; must divide the {steps} steps of a rollout (--num_envs x "
            "--rollout_steps)",
        )


def _check_munchausen(config: Any) -> None:
    if "means" not in HEADS[config.head].offers:
        raise errors.SettingError(
            "head", f"is {config.head}; must be one of {HEADS.offering('means')} for munchausen"
        )


# Groups of settings that algorithms read: 'updates' of those that learn from the replay every so
# many steps, 'target' of those with a target network, 'greedy' of those whose target is the value
# of the best action, 'td_loss' of those with a loss of TD errors.
ALGORITHMS = registry.Registry("algorithm")
ALGORITHMS.register(
    "dqn",
    "jaxdqn.algorithms.dqn",
    "updates from the replay with a target network",
    paper="Mnih et al., Nature 518, 2015",
    reads=frozenset({"updates", "target", "greedy", "td_loss"}),
)
ALGORITHMS.register(
    "munchausen",
    "jaxdqn.algorithms.munchausen",
    "like dqn, but towards a mean over a soft policy, with a bonus for actions that it prefers",
    paper="Vieillard et al., arXiv:2007.14430",
    reads=frozenset({"updates", "target", "td_loss", "munchausen"}),
    check=_check_munchausen,
)
ALGORITHMS.register(
    "pqn",
    "jaxdqn.algorithms.pqn",
    "epochs over the lambda returns of the newest steps, without a replay or a target network",
    paper="Gallici et al., arXiv:2407.04811",
    reads=frozenset({"rollouts", "td_loss"}),
    check=_check_rollouts,
    stores_q_values=True,
)
ALGORITHMS.register(
    "sweep",
    "jaxdqn.algorithms.sweep",
    "backward sweeps over a replay that is emptied after the network has been fitted to it; "
    "without target network and n-step returns, and with a squared loss",
    paper="Pedersen, TensorFlow Tutorial 16, 2017",
    reads=frozenset({"sweeps"}),
    check=_check_sweep,
    stores_q_values=True,
)


def _check_atoms(config: Any) -> None:
    if config.value_min >= config.value_max:
        raise errors.SettingError(
            "value_min", f"is {config.value_min:g}; must be below --value_max={config.value_max:g}"
        )
    spacing = (config.value_max - config.value_min) / config.num_atoms
    if spacing < 1e-4 * max(abs(config.value_min), abs(config.value_max)):  # digits of float32
        raise errors.SettingError(
            "num_atoms",
            f"is {config.num_atoms}; {spacing:g} from one to the next is too little for returns of "
            "that size",
        )


# Groups of settings that heads read: 'td_loss' of those with a loss of TD errors, 'atoms' of
# distributions over fixed returns, 'gauss', 'quantiles', 'cosines'. They offer 'means' over actions
# of the returns that follow, where these can be added.
HEADS = registry.Registry("head")
HEADS.register(
    "scalar",
    "jaxdqn.agent.heads.scalar",
    "one value for each action",
    reads=frozenset({"td_loss"}),
    offers=frozenset({"means"}),
)
HEADS.register(
    "c51",
    "jaxdqn.agent.heads.c51",
    "probabilities of fixed returns (C51)",
    paper="Bellemare et al., arXiv:1707.06887",
    reads=frozenset({"atoms"}),
    check=_check_atoms,
)
HEADS.register(
    "hl_gauss",
    "jaxdqn.agent.heads.hl_gauss",
    "a histogram around the value (HL-Gauss)",
    paper="Farebrother et al., arXiv:2403.03950",
    reads=frozenset({"atoms", "gauss"}),
    offers=frozenset({"means"}),
    check=_check_atoms,
)
HEADS.register(
    "qr",
    "jaxdqn.agent.heads.qr",
    "quantiles of returns (QR-DQN)",
    paper="Dabney et al., arXiv:1710.10044",
    reads=frozenset({"quantiles"}),
    offers=frozenset({"means"}),
)
HEADS.register(
    "iqn",
    "jaxdqn.agent.heads.iqn",
    "quantiles of returns at random fractions (IQN)",
    paper="Dabney et al., arXiv:1806.06923",
    reads=frozenset({"quantiles", "cosines"}),
    offers=frozenset({"means"}),
)

ENCODERS = registry.Registry("network")
ENCODERS.register(
    "nature",
    "jaxdqn.agent.encoders.convolutions",
    "the three convolutions of Mnih et al. (2015)",
    paper="Mnih et al., Nature 518, 2015",
    reads=frozenset({"convolutions", "kernels"}),
)
ENCODERS.register(
    "small",
    "jaxdqn.agent.encoders.convolutions",
    "the convolutions of nature with half of the features",
    reads=frozenset({"convolutions", "kernels"}),
)
ENCODERS.register(
    "conv",
    "jaxdqn.agent.encoders.convolutions",
    "the convolutions of the --conv_* settings",
    reads=frozenset({"convolutions", "kernels", "chain"}),
)
ENCODERS.register(
    "impala",
    "jaxdqn.agent.encoders.impala",
    "the residual network of Espeholt et al. (2018)",
    paper="Espeholt et al., arXiv:1802.01561",
    reads=frozenset({"kernels", "residuals"}),
)
ENCODERS.register(
    "hadamax",
    "jaxdqn.agent.encoders.hadamax",
    "products of convolutions with max-pooling, of Kooi et al. (2025)",
    paper="Kooi et al., arXiv:2505.15345",
    reads=frozenset({"kernels"}),
)
ENCODERS.register("mlp", "jaxdqn.agent.encoders.flat", "none, only dense layers")

SAMPLERS = registry.Registry("sampler")
SAMPLERS.register(
    "uniform",
    "jaxdqn.replay.samplers.uniform",
    "all equally often",
    reads=frozenset({"repeats"}),
)
SAMPLERS.register(
    "prioritized",
    "jaxdqn.replay.samplers.prioritized",
    "those with large errors more often, and with smaller weights",
    paper="Schaul et al., arXiv:1511.05952",
    reads=frozenset({"priorities"}),
)

EXPLORERS = registry.Registry("explorer")
EXPLORERS.register("epsilon_greedy", "jaxdqn.agent.explorers.epsilon_greedy", "one step")
EXPLORERS.register(
    "lasting",
    "jaxdqn.agent.explorers.lasting",
    "k steps or more with probability 1/k",
    reads=frozenset({"lasting"}),
)

ALL = (ALGORITHMS, HEADS, ENCODERS, SAMPLERS, EXPLORERS)
