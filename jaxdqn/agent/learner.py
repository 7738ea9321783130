"""The update step: pure, for one batch, on one device or averaged over many."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import chex
import flax.struct
import jax
import jax.flatten_util
import jax.numpy as jnp
import optax

from jaxdqn.agent import losses, networks

_Tree = TypeVar("_Tree")


class TrainState(flax.struct.PyTreeNode):
    """All that learning changes."""

    params: chex.ArrayTree  # online network
    target_params: chex.ArrayTree  # the same shapes
    opt_state: optax.OptState
    updates: jax.Array  # [] int32, updates done
    refused: jax.Array  # [] int32, updates whose numbers were not finite
    key: jax.Array  # [] PRNG key, folded with `updates` for each draw and never changed


class Transitions(Protocol):
    """A batch of B transitions, each over up to n steps."""

    observation: jax.Array  # [B, S, *frame_shape]
    action: jax.Array  # [B] int32
    reward: jax.Array  # [B] float32, discounted sum
    discount: jax.Array  # [B] float32, of the bootstrap value
    next_observation: jax.Array  # [B, S, *frame_shape]


# `METRICS` by name, and `accepted`: whether the update was.
Metrics = dict[str, jax.Array]


class Learner(NamedTuple):
    """Pure functions that learn."""

    init: Callable[[jax.Array, jax.Array], TrainState]  # (key, an observation [1, S, *F])
    update: Callable[[TrainState, Transitions], tuple[TrainState, Metrics]]
    move_target: Callable[[TrainState], TrainState]  # what `update` also does by its own period


METRICS = ("loss", "q_mean", "grad_norm")


def make_optimizer(
    name: str,
    learning_rate: optax.ScalarOrSchedule,
    *,
    epsilon: float,
    max_grad_norm: float = 0.0,
    clip_per_tensor: bool = False,
    rmsprop_decay: float = 0.95,
    rmsprop_centred: bool = True,
    rmsprop_initial: float = 0.0,
) -> optax.GradientTransformation:
    """Builds an optimizer.

    Args:
      name: 'adam' (Kingma and Ba, arXiv:1412.6980) or 'rmsprop'.
      learning_rate: or a schedule over updates.
      epsilon: added to Adam's root, and within RMSProp's.
      max_grad_norm: gradients are clipped to this norm; 0 leaves them.
      clip_per_tensor: each parameter's gradient has that norm for itself, not all together.
      rmsprop_decay: of the running mean of squares.
      rmsprop_centred: subtract the running mean, as Mnih et al. (2015) do.
      rmsprop_initial: where the mean of squares begins.
    """
    if name == "adam":
        optimizer = optax.adam(learning_rate, eps=epsilon)
    elif name == "rmsprop":
        optimizer = optax.rmsprop(
            learning_rate,
            decay=rmsprop_decay,
            eps=epsilon,
            initial_scale=rmsprop_initial,
            centered=rmsprop_centred,
            eps_in_sqrt=True,
        )
    else:
        raise ValueError(f"no optimizer is called {name!r}")
    if not max_grad_norm:
        return optimizer
    clip = _clip_each if clip_per_tensor else optax.clip_by_global_norm
    return optax.chain(clip(max_grad_norm), optimizer)


def _clip_each(max_norm: float) -> optax.GradientTransformation:
    """Clips the gradient of every parameter to a norm of its own."""

    def clip(gradient: jax.Array) -> jax.Array:
        norm = jnp.sqrt(jnp.sum(gradient**2))
        return gradient * (max_norm / jnp.maximum(norm, max_norm))

    return optax.stateless(lambda gradients, _: jax.tree.map(clip, gradients))


def averaged(tree: _Tree, axis_name: str | None) -> _Tree:
    """The mean of a tree over all devices of an axis, if there is one, in one collective.

    XLA joins collectives itself on accelerators. On CPUs each would wait for the network anew.
    """
    if axis_name is None:
        return tree
    flat, unravel = jax.flatten_util.ravel_pytree(tree)
    mean: _Tree = unravel(jax.lax.pmean(flat, axis_name))
    return mean


def change_if(
    condition: jax.Array, change: Callable[..., tuple[Any, ...]], *trees: Any
) -> tuple[Any, ...]:
    """Either `change(*trees)` or the trees as they were.

    On a CPU a branch costs nothing, and to select all of a network's parameters would take a tenth
    of an update. On an accelerator the host would wait for a branch, and memory is fast.

    Args:
      condition: [] bool.
      change: from trees to as many of the same shapes.
      *trees: what may change.
    """

    def branch(*trees: Any) -> tuple[Any, ...]:
        return jax.lax.cond(condition, change, lambda *trees: trees, *trees)

    def select(*trees: Any) -> tuple[Any, ...]:
        return jax.tree.map(lambda new, old: jnp.where(condition, new, old), change(*trees), trees)

    return jax.lax.platform_dependent(*trees, cpu=branch, default=select)


def accept(
    state: TrainState,
    descend: Callable[[chex.ArrayTree, optax.OptState], tuple[chex.ArrayTree, optax.OptState]],
    metrics: Metrics,
    stop_when_refused: bool,
) -> tuple[TrainState, Metrics]:
    """Makes an update if its loss, values and gradients are finite, and else refuses it.

    Args:
      state: before the update.
      descend: makes it, from parameters and the optimizer's state to new ones.
      metrics: of it.
      stop_when_refused: see `make_learner`.
    """
    is_finite = jnp.all(jnp.isfinite(jnp.stack([metrics[name] for name in METRICS])))
    goes_on = is_finite & (state.refused == 0) if stop_when_refused else is_finite
    params, opt_state = change_if(goes_on, descend, state.params, state.opt_state)
    state = state.replace(
        params=params,
        opt_state=opt_state,
        # One that is skipped counts: the next one draws another batch.
        updates=state.updates + (goes_on.astype(jnp.int32) if stop_when_refused else 1),
        refused=state.refused + (~is_finite).astype(jnp.int32),
    )
    return state, {**metrics, "accepted": goes_on}


def summands(metrics: Metrics) -> jax.Array:
    """`METRICS` of an update and 1 [M + 1], to be added up for means; zeros if it was refused."""
    row = jnp.stack([*(metrics[name] for name in METRICS), jnp.ones(())])
    return jnp.where(metrics["accepted"], row, 0.0)


def make_learner(
    network: networks.Network,
    optimizer: optax.GradientTransformation,
    *,
    double_q: bool,
    td_loss: Callable[[jax.Array], jax.Array],
    target_tau: float,
    target_period_updates: int,
    stop_when_refused: bool = False,
    axis_name: str | None = None,
) -> Learner:
    """Builds DQN's learner (Mnih et al., 2015; van Hasselt et al., arXiv:1509.06461).

    Args:
      network: the Q-network.
      optimizer: of the online parameters.
      double_q: choose the bootstrap action with the online network.
      td_loss: elementwise loss of TD errors.
      target_tau: share of the online parameters moved into the target; 1 is a hard copy
        (the soft update is that of Lillicrap et al., arXiv:1509.02971).
      target_period_updates: updates between such moves; 0: `update` makes none.
      stop_when_refused: after a refused update every other is refused, and not counted, too.
      axis_name: mesh axis over which the batch is split; gradients and metrics are averaged.
    """

    def init(key: jax.Array, observation: jax.Array) -> TrainState:
        params_key, draw_key = jax.random.split(key)
        params = network.init(params_key, observation)
        return TrainState(
            params=params,
            # A copy: donated buffers must not be shared.
            target_params=jax.tree.map(jnp.copy, params),
            opt_state=optimizer.init(params),
            updates=jnp.zeros((), jnp.int32),
            refused=jnp.zeros((), jnp.int32),
            key=draw_key,
        )

    def loss_fn(
        params: chex.ArrayTree, target_params: chex.ArrayTree, batch: Transitions
    ) -> tuple[jax.Array, Metrics]:
        q_tm1 = network.q_values(params, batch.observation)
        q_target_t = network.q_values(target_params, batch.next_observation)
        if double_q:
            q_online_t = network.q_values(jax.lax.stop_gradient(params), batch.next_observation)
            td_error = jax.vmap(losses.double_q_td_error)(
                q_tm1, batch.action, batch.reward, batch.discount, q_online_t, q_target_t
            )
        else:
            td_error = jax.vmap(losses.q_td_error)(
                q_tm1, batch.action, batch.reward, batch.discount, q_target_t
            )
        loss = jnp.mean(td_loss(td_error))
        return loss, {"loss": loss, "q_mean": jnp.mean(jnp.max(q_tm1, axis=-1))}

    def update(state: TrainState, batch: Transitions) -> tuple[TrainState, Metrics]:
        grads, metrics = jax.grad(loss_fn, has_aux=True)(state.params, state.target_params, batch)
        grads, metrics = averaged((grads, metrics), axis_name)
        metrics["grad_norm"] = optax.tree.norm(grads)

        def descend(
            params: chex.ArrayTree, opt_state: optax.OptState
        ) -> tuple[chex.ArrayTree, optax.OptState]:
            deltas, opt_state = optimizer.update(grads, opt_state, params)
            return optax.apply_updates(params, deltas), opt_state

        before = state.updates
        state, metrics = accept(state, descend, metrics, stop_when_refused)
        if target_period_updates:
            due = (state.updates % target_period_updates == 0) & (state.updates != before)
            (target_params,) = change_if(
                due, lambda target: (moved(target, state.params),), state.target_params
            )
            state = state.replace(target_params=target_params)
        return state, metrics

    def moved(target_params: chex.ArrayTree, params: chex.ArrayTree) -> chex.ArrayTree:
        return optax.incremental_update(params, target_params, target_tau)

    def move_target(state: TrainState) -> TrainState:
        return state.replace(target_params=moved(state.target_params, state.params))

    return Learner(init=init, update=update, move_target=move_target)
