"""A head of your own: one value for each action, learned with a loss that is smooth everywhere.

cd examples
python -m jaxdqn.train --env=CartPole --plugins=own_head --head=log_cosh

log(cosh(x)) is about x**2 / 2 for small errors and |x| - log(2) for large ones. So it limits what
one surprising return can do, as the Huber loss does, but it has no corner in its slope. Errors are
small below the option `width`.
"""

import jax
import jax.numpy as jnp

from jaxdqn.agent.heads import api
from jaxdqn.settings import registries


def log_cosh(x):
    """As a sum of exponentials, because cosh(x) itself overflows."""
    return jnp.logaddexp(x, -x) - jnp.log(2.0)


def make(config):
    """The head of a run with these settings; every head's module has this function."""
    width = config.options["width"]

    def values(outputs):
        """From the raw outputs of the network for one state, [A, 1], to action values [A]."""
        return outputs.raw[:, 0]

    def loss(raw, _, r_t, discount_t, next_return):
        """The loss of one transition, and its priority for `--sampler=prioritized`.

        `raw` [1] are the outputs for the action that was taken. `next_return` [1] is what the
        algorithm expects after it, such as the outputs for the next state's best action.
        """
        target = jax.lax.stop_gradient(r_t + discount_t * next_return[0])
        td_error = target - raw[0]
        return width**2 * log_cosh(td_error / width), jnp.abs(td_error)

    return api.Head(num_outputs=1, values=values, loss=loss, mean_next_return=api.mean_over_actions)


# `reads` is left out: this head reads no settings, so `--loss` and `--huber_delta` are refused.
# `offers` says that it has `mean_next_return`, which `--algorithm=munchausen` needs.
# `options` are its own settings, with their defaults: `--part_options=width=2` sets one.
registries.HEADS.register(
    "log_cosh",
    __name__,
    "one value, with a smooth loss",
    offers=frozenset({"means"}),
    options={"width": 1.0},
)
