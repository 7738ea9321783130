"""The update step: pure, for one batch, on one device or averaged over several."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import chex
import flax.struct
import jax
import jax.flatten_util
import jax.numpy as jnp
import optax

from jaxdqn.agent import spectral

_Tree = TypeVar("_Tree")


class TrainState(flax.struct.PyTreeNode):
    """All that learning changes."""

    params: chex.ArrayTree  # online network
    target_params: chex.ArrayTree  # the same shapes
    opt_state: optax.OptState
    updates: jax.Array  # [] int32, updates done
    refused: jax.Array  # [] int32, updates whose numbers were not finite
    # [2] uint32, the data of a PRNG key, which never changes. JAX starts a compiled function that
    # returns keys themselves more slowly.
    key: jax.Array

    @property
    def draw_key(self) -> jax.Array:
        """[] PRNG key, to be folded with `updates` for each draw."""
        return jax.random.wrap_key_data(self.key)


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
    move_target: Callable[[TrainState], TrainState]  # `update` also does this, by its own period


METRICS = ("loss", "q_mean", "grad_norm")


def averaged(tree: _Tree, axis_name: str | None) -> _Tree:
    """The mean of a tree over all devices of an axis, if there is one, in one collective.

    On accelerators XLA joins collectives itself. On CPUs each would wait for the network.
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

    On a CPU it is a branch, because selecting all of a network's parameters would take a tenth of
    an update. On an accelerator it is a selection, because the host would wait for a branch.

    Args:
      condition: [] bool.
      change: maps the trees to as many trees of the same shapes.
      *trees: that may change.
    """

    # Traced once for both, and no call in what is compiled.
    change = jax.jit(change, inline=True)

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
    """Makes an update if its loss, values and gradients are finite, else refuses it.

    Args:
      state: before the update.
      descend: makes the update: maps parameters and optimizer state to new ones.
      metrics: of it.
      stop_when_refused: see `UpdateRule`.
    """
    is_finite = jnp.all(jnp.isfinite(jnp.stack([metrics[name] for name in METRICS])))
    goes_on = is_finite & (state.refused == 0) if stop_when_refused else is_finite
    params, opt_state = change_if(goes_on, descend, state.params, state.opt_state)
    state = state.replace(
        params=params,
        opt_state=opt_state,
        # A skipped update counts, so that the next one draws another batch.
        updates=state.updates + (goes_on.astype(jnp.int32) if stop_when_refused else 1),
        refused=state.refused + (~is_finite).astype(jnp.int32),
    )
    return state, {**metrics, "accepted": goes_on}


def summands(metrics: Metrics) -> jax.Array:
    """`METRICS` of an update and 1, [M + 1], to be summed for means; zeros if it was refused."""
    row = jnp.stack([*(metrics[name] for name in METRICS), jnp.ones(())])
    return jnp.where(metrics["accepted"], row, 0.0)


class UpdateRule(NamedTuple):
    """How parameters follow a loss."""

    loss_fn: LossFn
    optimizer: optax.GradientTransformation  # of the online parameters
    has_target: bool = False  # keep a target network too
    # Share of the online parameters moved into the target; 1 is a hard copy (the soft update is
    # that of Lillicrap et al., arXiv:1509.02971).
    target_tau: float = 1.0
    target_period_updates: int = 0  # updates between such moves; 0: an update makes none
    stop_when_refused: bool = False  # after a refused update every other is refused, not counted
    axis_name: str | None = None  # mesh axis of the batch; gradients and metrics are averaged


def make_learner(
    init_params: Callable[[jax.Array, jax.Array], chex.ArrayTree], rule: UpdateRule
) -> Learner:
    """Builds the update step that algorithms share.

    Args:
      init_params: from a key and an observation [1, S, *F] to parameters.
      rule: how they follow a loss.
    """
    return Learner(
        init=functools.partial(_init, rule, init_params),
        update=functools.partial(_update, rule),
        move_target=functools.partial(_move_target, rule),
    )


def _init(
    rule: UpdateRule,
    init_params: Callable[[jax.Array, jax.Array], chex.ArrayTree],
    key: jax.Array,
    observation: jax.Array,
) -> TrainState:
    params_key, draw_key = jax.random.split(key)
    params = init_params(params_key, observation)
    return TrainState(
        params=params,
        # A copy: donated buffers must not be shared.
        target_params=jax.tree.map(jnp.copy, params) if rule.has_target else {},
        opt_state=rule.optimizer.init(params),
        updates=jnp.zeros((), jnp.int32),
        refused=jnp.zeros((), jnp.int32),
        key=jax.random.key_data(draw_key),
    )


def _update(
    rule: UpdateRule,
    state: TrainState,
    batch: Any,
    key: jax.Array,
    weight: jax.Array | None = None,
    step_factor: jax.Array | None = None,
) -> tuple[TrainState, Metrics, jax.Array]:
    def mean_loss(params: chex.ArrayTree) -> tuple[jax.Array, tuple[Metrics, jax.Array]]:
        losses, metrics, priority = rule.loss_fn(params, state.target_params, batch, key)
        loss = jnp.mean(losses if weight is None else weight * losses)
        return loss, ({"loss": loss, **metrics}, priority)

    grads, (metrics, priority) = jax.grad(mean_loss, has_aux=True)(state.params)
    grads, metrics = averaged((grads, metrics), rule.axis_name)
    metrics["grad_norm"] = optax.tree.norm(grads)

    def descend(
        params: chex.ArrayTree, opt_state: optax.OptState
    ) -> tuple[chex.ArrayTree, optax.OptState]:
        deltas, opt_state = rule.optimizer.update(grads, opt_state, params)
        if step_factor is not None:
            deltas = jax.tree.map(lambda delta: step_factor * delta, deltas)
        return spectral.renewed(optax.apply_updates(params, deltas)), opt_state

    before = state.updates
    state, metrics = accept(state, descend, metrics, rule.stop_when_refused)
    if rule.target_period_updates:
        due = (state.updates % rule.target_period_updates == 0) & (state.updates != before)
        (target_params,) = change_if(
            due, lambda target: (_moved(rule, target, state.params),), state.target_params
        )
        state = state.replace(target_params=target_params)
    return state, metrics, priority


def _moved(
    rule: UpdateRule, target_params: chex.ArrayTree, params: chex.ArrayTree
) -> chex.ArrayTree:
    return optax.incremental_update(params, target_params, rule.target_tau)


def _move_target(rule: UpdateRule, state: TrainState) -> TrainState:
    return state.replace(target_params=_moved(rule, state.target_params, state.params))
