"""One value for each action (Mnih et al., 2015)."""

import jax
import jax.numpy as jnp

from jaxdqn.agent import losses
from jaxdqn.agent.heads import api
from jaxdqn.settings import config as config_lib


def make(config: config_lib.Config) -> api.Head:
    """The head of a run, with its loss of TD errors."""

    def td_loss(td_error: jax.Array) -> jax.Array:
        if config.loss == "mse":
            return config.loss_scale * td_error**2
        return config.loss_scale * losses.huber(td_error, config.huber_delta)

    return scalar(td_loss)


def scalar(td_loss: losses.TdLoss) -> api.Head:
    """Builds a head.

    Args:
      td_loss: elementwise loss of TD errors.
    """

    def values(outputs: api.Outputs) -> jax.Array:
        return outputs.raw[:, 0]

    def loss(
        raw: jax.Array, _: None, r_t: jax.Array, discount_t: jax.Array, next_return: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        td_error = jax.lax.stop_gradient(r_t + discount_t * next_return[0]) - raw[0]
        return td_loss(td_error), jnp.abs(td_error)

    return api.Head(num_outputs=1, values=values, loss=loss, mean_next_return=api.mean_over_actions)
