"""The parts of an agent, built from the settings of a run."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxdqn import config as config_lib
from jaxdqn.agent import actor as actor_lib
from jaxdqn.agent import convolution, losses, networks
from jaxdqn.agent import learner as learner_lib
from jaxdqn.envs import api
from jaxdqn.replay import ring as ring_lib
from jaxdqn.runtime import native


def convolution_implementation() -> convolution.Implementation:
    """How this platform convolves."""
    if jax.default_backend() != "cpu":
        return "xla"
    return "native" if native.is_ready() else "matmul"


def make_network(config: config_lib.Config, spec: api.EnvSpec) -> networks.Network:
    """The Q-network of a run."""
    return networks.make_network(
        config.network,
        config.hidden_sizes,
        spec.num_actions,
        convolution_implementation,
        jnp.dtype(config.compute_dtype),
    )


def make_actor(config: config_lib.Config, spec: api.EnvSpec) -> actor_lib.Actor:
    """The actor of a run."""
    return actor_lib.make_actor(
        make_network(config, spec),
        frame_shape=spec.frame_shape,
        frame_dtype=jnp.dtype(spec.frame_dtype),
        frame_stack=config.frame_stack,
    )


def make_ring(config: config_lib.Config, spec: api.EnvSpec) -> ring_lib.Ring:
    """The replay of a run."""
    return ring_lib.make_ring(
        num_rows=config.replay_capacity // config.group_size,
        frame_shape=spec.frame_shape,
        frame_dtype=jnp.dtype(spec.frame_dtype),
        frame_stack=config.frame_stack,
        stride=config.num_groups,
        n_step=config.n_step,
        discount=config.discount,
        reward_clip=config.reward_clip,
        life_loss_ends=config.life_loss_ends,
    )


def make_learner(
    config: config_lib.Config, spec: api.EnvSpec, axis_name: str | None
) -> learner_lib.Learner:
    """The learner of a run."""
    learning_rate: optax.ScalarOrSchedule = config.learning_rate
    if config.learning_rate_end is not None:
        learning_rate = optax.linear_schedule(
            config.learning_rate, config.learning_rate_end, max(1, config.planned_updates)
        )
    return learner_lib.make_learner(
        make_network(config, spec),
        learner_lib.make_optimizer(
            config.optimizer, learning_rate, config.optimizer_epsilon, config.max_grad_norm
        ),
        double_q=config.double_q,
        td_loss=td_loss(config),
        target_tau=config.target_tau,
        target_period_updates=config.target_period_updates,
        axis_name=axis_name,
    )


def td_loss(config: config_lib.Config) -> Callable[[jax.Array], jax.Array]:
    """The elementwise loss of TD errors."""
    if config.loss == "mse":
        return jnp.square
    return lambda td_error: losses.huber(td_error, config.huber_delta)
