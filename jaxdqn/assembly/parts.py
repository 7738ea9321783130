"""The parts of an agent, built from the settings of a run."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdqn.agent import actor, backward_sweep, learner, losses, networks
from jaxdqn.envs import api
from jaxdqn.kernels import convolution, native_library
from jaxdqn.replay import ring
from jaxdqn.settings import config as config_lib


def convolution_implementation() -> convolution.Implementation:
    """How this platform convolves."""
    if jax.default_backend() != "cpu":
        return "xla"
    return "native" if native_library.is_ready() else "matmul"


def architecture(config: config_lib.Config, num_actions: int) -> networks.Architecture:
    """What the Q-network of a run is made of."""
    layers = map(networks.Convolution, config.conv_features, config.conv_sizes, config.conv_strides)
    return networks.Architecture(
        convolutions=networks.NATURE if config.network == "nature" else tuple(layers),
        hidden_sizes=config.hidden_sizes,
        num_actions=num_actions,
        padding=config.conv_padding,
        dueling=config.dueling,
        conv_init=config.conv_init,
        dense_init=config.dense_init,
        scale_pixels=config.scale_pixels,
    )


def make_network(config: config_lib.Config, spec: api.EnvSpec) -> networks.Network:
    """The Q-network of a run."""
    return networks.make_network(
        architecture(config, spec.num_actions),
        convolution_implementation,
        jnp.dtype(config.compute_dtype),
    )


def make_actor(
    config: config_lib.Config, spec: api.EnvSpec, explore_max_steps: int = 1
) -> actor.Actor:
    """The actor of a run; in training random actions may last, and nowhere else."""
    return actor.make_actor(
        make_network(config, spec),
        frame_shape=spec.frame_shape,
        frame_dtype=jnp.dtype(spec.frame_dtype),
        frame_stack=config.frame_stack,
        motion_trace=config.motion_trace,
        explore_max_steps=explore_max_steps,
    )


def seen_shape(config: config_lib.Config, spec: api.EnvSpec) -> tuple[int, ...]:
    """Shape of a frame as the network sees it and the replay holds it."""
    return actor.seen_shape(spec.frame_shape, config.motion_trace)


def observation_like(
    config: config_lib.Config, spec: api.EnvSpec, batch: Any = 1
) -> jax.ShapeDtypeStruct:
    """What observations [B, S, *seen_shape] are; the size of a batch may be symbolic."""
    shape = (batch, config.frame_stack, *seen_shape(config, spec))
    return jax.ShapeDtypeStruct(shape, jnp.dtype(spec.frame_dtype))


def make_ring(config: config_lib.Config, spec: api.EnvSpec) -> ring.Ring:
    """The replay of a run."""
    return ring.make_ring(
        num_rows=config.replay_capacity // config.group_size,
        frame_shape=seen_shape(config, spec),
        frame_dtype=jnp.dtype(spec.frame_dtype),
        frame_stack=config.frame_stack,
        stride=config.num_groups,
        n_step=config.n_step,
        discount=config.discount,
        reward_clip=config.reward_clip,
        reward_scale=config.reward_scale,
        life_loss_ends=config.life_loss_ends,
        time_limit_ends=config.time_limit_ends,
        terminal_reward=config.terminal_reward,
        terminal_repeats=config.terminal_repeats,
        num_q_values=spec.num_actions if config.algorithm == "sweep" else 0,
    )


def make_learner(
    config: config_lib.Config, spec: api.EnvSpec, axis_name: str | None
) -> learner.Learner:
    """The learner of a run."""
    return learner.make_learner(
        make_network(config, spec),
        make_optimizer(config),
        double_q=config.double_q,
        td_loss=td_loss(config),
        target_tau=config.target_tau,
        target_period_updates=config.target_period_updates,
        stop_when_refused=config.on_nonfinite == "stop",
        axis_name=axis_name,
    )


def make_sweep_learner(
    config: config_lib.Config, spec: api.EnvSpec, axis_name: str | None
) -> backward_sweep.SweepLearner:
    """The learner of a run that sweeps; it is told its learning rate."""
    unit_rate = dataclasses.replace(
        config, learning_rate=1.0, learning_rate_end=None, learning_rate_decay_steps=0
    )
    return backward_sweep.make_learner(
        make_network(config, spec),
        make_optimizer(unit_rate),
        stop_when_refused=config.on_nonfinite == "stop",
        axis_name=axis_name,
    )


def make_optimizer(config: config_lib.Config) -> optax.GradientTransformation:
    """The optimizer of a run."""
    learning_rate: optax.ScalarOrSchedule = config.learning_rate
    if config.learning_rate_end is not None:
        learning_rate = optax.linear_schedule(
            config.learning_rate, config.learning_rate_end, config.decay_updates
        )
    return learner.make_optimizer(
        config.optimizer,
        learning_rate,
        epsilon=config.optimizer_epsilon,
        max_grad_norm=config.max_grad_norm,
        clip_per_tensor=config.clip_per_tensor,
        rmsprop_decay=config.rmsprop_decay,
        rmsprop_centred=config.rmsprop_centred,
        rmsprop_initial=config.rmsprop_initial,
    )


def td_loss(config: config_lib.Config) -> Callable[[jax.Array], jax.Array]:
    """The elementwise loss of TD errors."""

    def loss(td_error: jax.Array) -> jax.Array:
        if config.loss == "mse":
            return config.loss_scale * td_error**2
        return config.loss_scale * losses.huber(td_error, config.huber_delta)

    return loss
