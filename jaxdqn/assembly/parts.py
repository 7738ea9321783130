"""Builds the parts of an agent from the settings of a run."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdqn.agent import actor as actor_lib
from jaxdqn.agent import networks, optimizers
from jaxdqn.agent.encoders import api as encoders
from jaxdqn.agent.explorers import api as explorers
from jaxdqn.agent.explorers import epsilon_greedy
from jaxdqn.agent.heads import api as heads
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api
from jaxdqn.kernels import convolution, native_library
from jaxdqn.replay import returns, ring
from jaxdqn.replay.samplers import api as samplers
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import registries


def convolution_implementation() -> convolution.Implementation:
    """How convolutions are computed on the platform that they are traced for."""
    if mesh_lib.platform() != "cpu":
        return "xla"
    return "native" if native_library.is_ready() else "matmul"


def make_encoder(config: config_lib.Config) -> encoders.Encoder:
    """What the network of a run begins with."""
    made: encoders.Encoder = registries.ENCODERS.load(config.network).make(config)
    return made


def make_head(config: config_lib.Config) -> heads.Head:
    """What the outputs of a run's network mean."""
    made: heads.Head = registries.HEADS.load(config.head).make(config)
    return made


def make_network(
    config: config_lib.Config,
    spec: api.EnvSpec,
    implementation: encoders.Implementation = convolution_implementation,
) -> networks.Network:
    """The Q-network of a run."""
    return networks.make_network(
        make_encoder(config),
        make_head(config),
        implementation,
        num_actions=spec.num_actions,
        hidden_sizes=config.hidden_sizes,
        dueling=config.dueling,
        dense_init=config.dense_init,
        noisy_sigma=config.noisy_sigma if config.noisy else None,
        layer_norm=config.layer_norm,
        dtype=jnp.dtype(config.compute_dtype),
    )


def make_explorer(config: config_lib.Config) -> explorers.Explorer:
    """What chooses the actions of a run's training."""
    made: explorers.Explorer = registries.EXPLORERS.load(config.chosen_explorer).make(config)
    return made


def make_actor(
    config: config_lib.Config, spec: api.EnvSpec, *, in_training: bool = False
) -> actor_lib.Actor:
    """The actor of a run; outside of training random actions last one step."""
    explorer = make_explorer(config) if in_training else epsilon_greedy.EXPLORER
    return actor_lib.make_actor(
        make_network(config, spec),
        frame_shape=spec.frame_shape,
        frame_dtype=jnp.dtype(spec.frame_dtype),
        frame_stack=config.frame_stack,
        motion_trace=config.motion_trace,
        explorer=explorer,
        draws_noise=in_training,
    )


def seen_shape(config: config_lib.Config, spec: api.EnvSpec) -> tuple[int, ...]:
    """Shape of a frame as the network sees it and the replay holds it."""
    return actor_lib.seen_shape(spec.frame_shape, config.motion_trace)


def observation_like(
    config: config_lib.Config, spec: api.EnvSpec, batch: Any = 1
) -> jax.ShapeDtypeStruct:
    """The shape and type of observations [B, S, *seen_shape]; the batch size may be symbolic."""
    shape = (batch, config.frame_stack, *seen_shape(config, spec))
    return jax.ShapeDtypeStruct(shape, jnp.dtype(spec.frame_dtype))


def params_like(config: config_lib.Config, spec: api.EnvSpec) -> Any:
    """Shapes and types of the parameters of a run's network, of which none are made."""
    init = make_network(config, spec).init
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(init, key, observation_like(config, spec))


def ring_layout(config: config_lib.Config, spec: api.EnvSpec) -> ring.Layout:
    """The replay of a run, with what its algorithm stores with each step."""
    stores_q_values = registries.ALGORITHMS[config.algorithm].stores_q_values
    return ring.Layout(
        num_rows=config.replay_capacity // config.group_size,
        frame_shape=seen_shape(config, spec),
        frame_dtype=jnp.dtype(spec.frame_dtype),
        frame_stack=config.frame_stack,
        stride=config.num_groups,
        extras={ring.Q_VALUES: (spec.num_actions,)} if stores_q_values else {},
    )


def return_rule(config: config_lib.Config) -> returns.ReturnRule:
    """How a run turns rewards into returns."""
    return returns.ReturnRule(
        n_step=config.n_step,
        discount=config.discount,
        reward_clip=config.reward_clip,
        reward_scale=config.reward_scale,
        life_loss_ends=config.life_loss_ends,
        time_limit_ends=config.time_limit_ends,
        terminal_reward=config.terminal_reward,
    )


def make_sampler(
    config: config_lib.Config, layout: ring.Layout, axis_name: str | None
) -> samplers.Sampler:
    """What draws transitions from the replay of a run.

    Args:
      config: of the run.
      layout: of its ring.
      axis_name: mesh axis over which environments are split; None for one device.
    """
    module = registries.SAMPLERS.load(config.chosen_sampler)
    made: samplers.Sampler = module.make(config, layout, return_rule(config), axis_name)
    return made


def make_optimizer(
    config: config_lib.Config, learning_rate: optax.ScalarOrSchedule | None = None
) -> optax.GradientTransformation:
    """The optimizer of a run.

    Args:
      config: of the run.
      learning_rate: another one than the run's own, which follows the number of updates.
    """
    if learning_rate is None:
        learning_rate = _learning_rate(config)
    return optimizers.make_optimizer(
        config.optimizer,
        learning_rate,
        epsilon=config.optimizer_epsilon,
        max_grad_norm=config.max_grad_norm,
        clip_per_tensor=config.clip_per_tensor,
        rmsprop_decay=config.rmsprop_decay,
        rmsprop_centred=config.rmsprop_centred,
        rmsprop_initial=config.rmsprop_initial,
    )


def _learning_rate(config: config_lib.Config) -> optax.ScalarOrSchedule:
    if config.learning_rate_end is None:
        return config.learning_rate
    return optax.linear_schedule(
        config.learning_rate, config.learning_rate_end, config.decay_updates
    )
