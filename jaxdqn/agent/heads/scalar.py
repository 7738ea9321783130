"""One value for each action (Mnih et al., 2015)."""

import jax

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
        return outputs.numbers[:, 0]

    def loss(
        outputs_tm1: api.Outputs,
        a_tm1: jax.Array,
        r_t: jax.Array,
        discount_t: jax.Array,
        outputs_t: api.Outputs,
        values_t: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        td_error = losses.double_q_td_error(
            values(outputs_tm1), a_tm1, r_t, discount_t, values(outputs_t), values_t
        )
        return td_loss(td_error), abs(td_error)

    return api.Head(num_outputs=1, values=values, loss=loss)
