"""An algorithm as somebody would add it: values learn the reward of the next steps alone."""

import jax.numpy as jnp

from jaxdqn.agent import learner, q_learning
from jaxdqn.algorithms import replayed
from jaxdqn.assembly import parts
from jaxdqn.settings import registries


def make_learner(config, spec, axis_name):
    network, head = parts.make_network(config, spec), parts.make_head(config)

    def nothing(params, target_params, batch, keys):
        return batch.reward, jnp.zeros((len(batch.reward), head.num_outputs))

    learn_from = q_learning.make_loss(network, head, nothing)

    def loss(params, _, batch, key):
        batch = batch.replace(discount=jnp.zeros_like(batch.discount))
        return learn_from(params, {}, batch, key)

    return learner.make_learner(
        network.init,
        learner.UpdateRule(
            loss,
            parts.make_optimizer(config),
            stop_when_refused=config.on_nonfinite == "stop",
            axis_name=axis_name,
        ),
    )


ALGORITHM = replayed.algorithm(make_learner)


def register():
    registries.ALGORITHMS.register(
        "myopic",
        __name__,
        "the reward of the next steps, and nothing after them",
        reads=frozenset({"updates", "td_loss"}),
    )
