"""A head as somebody would add it: two values for each action, of which the mean counts."""

import jax
import jax.numpy as jnp

from jaxdqn.agent.heads import api
from jaxdqn.settings import registries


def make(config):
    def values(outputs):
        return jnp.mean(outputs.raw, axis=-1)

    def loss(raw, _, r_t, discount_t, next_return):
        target = r_t + discount_t * jnp.mean(next_return)
        errors = jax.lax.stop_gradient(target) - raw
        return config.loss_scale * jnp.sum(errors**2), jnp.max(jnp.abs(errors))

    return api.Head(num_outputs=2, values=values, loss=loss)


def register():
    registries.HEADS.register(
        "twins", __name__, "two values, of which the mean counts", reads=frozenset({"td_loss"})
    )
