"""The update step: pure, for one batch, on one device or averaged over many."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import chex
import flax.struct
import jax
import jax.flatten_util
import jax.numpy as jnp
import optax

_Tree = TypeVar("_Tree")


class TrainState(flax.struct.PyTreeNode):
    """All that learning changes."""

    params: chex.ArrayTree  # online network
    target_params: chex.ArrayTree  # the same shapes
    opt_state: optax.OptState
    updates: jax.Array  # [] int32, updates done
    refused: jax.Array  # [] int32, updates whose numbers were not finite
    key: jax.Array  # [] PRNG key, folded with `updates` for each draw and never changed


# `METRICS` by name, and `accepted`: whether the update was.
Metrics = dict[str, jax.Array]
# (params, target params, batch, key) -> losses [B]; metrics but `loss` and `grad_norm`, each a
# mean; priorities [B] of a sampler
LossFn = Callable[..., tuple[jax.Array, Metrics, jax.Array]]


class Learner(NamedTuple):
    """Pure functions that learn."""

    init: Callable[[jax.Array, jax.Array], TrainState]  # (key, an observation [1, S, *F])
    # (state, batch, key, weights of losses [B] or None, factor of the step [] or None) -> state,
    # metrics, priorities [B]
    update: Callable[..., tuple[TrainState, Metrics, jax.Array]]
    move_target: Callable[[TrainState], TrainState]  # what `update` also does by its own period


METRICS = ("loss", "q_mean", "grad_norm")


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
    init_params: Callable[[jax.Array, jax.Array], chex.ArrayTree],
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    has_target: bool = False,
    target_tau: float = 1.0,
    target_period_updates: int = 0,
    stop_when_refused: bool = False,
    axis_name: str | None = None,
) -> Learner:
    """Builds the update step that algorithms share.

    Args:
      init_params: from a key and an observation [1, S, *F] to parameters.
      loss_fn: of a batch.
      optimizer: of the online parameters.
      has_target: keep a target network beside them.
      target_tau: share of the online parameters moved into the target; 1 is a hard copy
        (the soft update is that of Lillicrap et al., arXiv:1509.02971).
      target_period_updates: updates between such moves; 0: `update` makes none.
      stop_when_refused: after a refused update every other is refused, and not counted, too.
      axis_name: mesh axis over which the batch is split; gradients and metrics are averaged.
    """

    def init(key: jax.Array, observation: jax.Array) -> TrainState:
        params_key, draw_key = jax.random.split(key)
        params = init_params(params_key, observation)
        return TrainState(
            params=params,
            # A copy: donated buffers must not be shared.
            target_params=jax.tree.map(jnp.copy, params) if has_target else {},
            opt_state=optimizer.init(params),
            updates=jnp.zeros((), jnp.int32),
            refused=jnp.zeros((), jnp.int32),
            key=draw_key,
        )

    def mean_loss(
        params: chex.ArrayTree,
        target_params: chex.ArrayTree,
        batch: Any,
        key: jax.Array,
        weight: jax.Array | None,
    ) -> tuple[jax.Array, tuple[Metrics, jax.Array]]:
        losses, metrics, priority = loss_fn(params, target_params, batch, key)
        loss = jnp.mean(losses if weight is None else weight * losses)
        return loss, ({"loss": loss, **metrics}, priority)

    def update(
        state: TrainState,
        batch: Any,
        key: jax.Array,
        weight: jax.Array | None = None,
        step_factor: jax.Array | None = None,
    ) -> tuple[TrainState, Metrics, jax.Array]:
        grads, (metrics, priority) = jax.grad(mean_loss, has_aux=True)(
            state.params, state.target_params, batch, key, weight
        )
        grads, metrics = averaged((grads, metrics), axis_name)
        metrics["grad_norm"] = optax.tree.norm(grads)

        def descend(
            params: chex.ArrayTree, opt_state: optax.OptState
        ) -> tuple[chex.ArrayTree, optax.OptState]:
            deltas, opt_state = optimizer.update(grads, opt_state, params)
            if step_factor is not None:
                deltas = jax.tree.map(lambda delta: step_factor * delta, deltas)
            return optax.apply_updates(params, deltas), opt_state

        before = state.updates
        state, metrics = accept(state, descend, metrics, stop_when_refused)
        if target_period_updates:
            due = (state.updates % target_period_updates == 0) & (state.updates != before)
            (target_params,) = change_if(
                due, lambda target: (moved(target, state.params),), state.target_params
            )
            state = state.replace(target_params=target_params)
        return state, metrics, priority

    def moved(target_params: chex.ArrayTree, params: chex.ArrayTree) -> chex.ArrayTree:
        return optax.incremental_update(params, target_params, target_tau)

    def move_target(state: TrainState) -> TrainState:
        return state.replace(target_params=moved(state.target_params, state.params))

    return Learner(init=init, update=update, move_target=move_target)
