"""An algorithm as somebody would add it: values learn the reward of the next steps alone."""

import jax
import jax.numpy as jnp

from jaxdqn.agent import learner
from jaxdqn.algorithms import replayed
from jaxdqn.assembly import parts
from jaxdqn.settings import registries


def make_learner(config, spec, axis_name):
    network, head = parts.make_network(config, spec), parts.make_head(config)

    def loss(params, _, batch, key):
        keys = jax.random.split(key, len(batch.action))
        outputs = network.outputs(params, batch.observation, keys)
        nothing = jnp.zeros_like(batch.discount)
        losses, priority = jax.vmap(head.loss)(
            outputs, batch.action, batch.reward, nothing, outputs, jax.vmap(head.values)(outputs)
        )
        q_values = jax.vmap(head.values)(outputs)
        return losses, {"q_mean": jnp.mean(jnp.max(q_values, axis=-1))}, priority

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
