"""The parts that this package has, by name. One line registers one; its file has the rest."""

from typing import Any

from jaxdqn import errors
from jaxdqn.settings import registry


def _check_sweep(config: Any) -> None:
    if config.n_step != 1:
        raise errors.SettingError("n_step", f"is {config.n_step}; must be 1 for sweeps")


# Groups of settings that algorithms read: 'updates' of those that learn from the replay every so
# many steps, 'target' of those with a target network, 'td_loss' of those with a loss of TD errors.
ALGORITHMS = registry.Registry("algorithm")
ALGORITHMS.register(
    "dqn",
    "jaxdqn.algorithms.dqn",
    "updates from the replay with a target network",
    reads=frozenset({"updates", "target", "td_loss"}),
)
ALGORITHMS.register(
    "sweep",
    "jaxdqn.algorithms.sweep",
    "backward sweeps over a replay that is emptied after the network has been fitted to it; "
    "without target network and n-step returns, and with a squared loss",
    reads=frozenset({"sweeps"}),
    check=_check_sweep,
)

HEADS = registry.Registry("head")
HEADS.register("scalar", "jaxdqn.agent.heads.scalar", "one value for each action")

ENCODERS = registry.Registry("network")
ENCODERS.register(
    "nature",
    "jaxdqn.agent.encoders.convolutions",
    "the three convolutions of Mnih et al. (2015)",
    reads=frozenset({"convolutions"}),
)
ENCODERS.register(
    "conv",
    "jaxdqn.agent.encoders.convolutions",
    "the convolutions of the --conv_* settings",
    reads=frozenset({"convolutions", "chain"}),
)
ENCODERS.register("mlp", "jaxdqn.agent.encoders.flat", "none, only dense layers")

SAMPLERS = registry.Registry("sampler")
SAMPLERS.register("uniform", "jaxdqn.replay.samplers.uniform", "all equally often")

EXPLORERS = registry.Registry("explorer")
EXPLORERS.register("epsilon_greedy", "jaxdqn.agent.explorers.epsilon_greedy", "one step")
EXPLORERS.register(
    "lasting",
    "jaxdqn.agent.explorers.lasting",
    "k steps or more with probability 1/k",
    reads=frozenset({"lasting"}),
)
