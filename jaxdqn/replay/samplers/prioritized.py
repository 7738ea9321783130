"""Prioritized replay: transitions with large errors are drawn more often.

Schaul et al., arXiv:1511.05952. Each transition has a mass, which is its priority to the power of
alpha, or 0 where it may not be drawn. Blocks of rows of one environment have the sum of their
masses. A draw finds a block and then a row in it, each by a random number of its own: one float32
could not tell a million rows apart. Sums are recomputed from the masses and never updated by
differences, which would drift until rows without mass are drawn.
"""

import math
from typing import NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxdqn.replay import returns, ring
from jaxdqn.replay.samplers import api
from jaxdqn.settings import config as config_lib

_PERCENTILES = (10, 50, 90, 99)
_SHOWN = 2**16  # masses of which percentiles are taken


class Masses(flax.struct.PyTreeNode):
    """What may be drawn, and how often. Rows are those of the ring's slots, in N blocks of K."""

    mass: jax.Array  # [E, N, K] float32
    total: jax.Array  # [E, N] float32, sum of each block
    largest: jax.Array  # [E, N] float32, largest mass of each block


class Rule(NamedTuple):
    """How priorities become chances and weights."""

    exponent: float  # alpha
    epsilon: float  # is added to priorities
    weight_start: float  # beta at the first update
    weight_end: float  # beta from `weight_updates` on
    weight_updates: int


def make(
    config: config_lib.Config,
    layout: ring.Layout,
    return_rule: returns.ReturnRule,
    axis_name: str | None,
) -> api.Sampler:
    """The sampler of a run; each device draws its share from its own environments."""
    rule = Rule(
        config.priority_exponent,
        config.priority_epsilon,
        config.importance_start,
        config.importance_end,
        max(1, config.planned_updates),
    )
    return prioritized(layout, return_rule, rule, axis_name)


def prioritized(
    layout: ring.Layout, return_rule: returns.ReturnRule, rule: Rule, axis_name: str | None = None
) -> api.Sampler:
    """Builds a sampler.

    Args:
      layout: of the ring.
      return_rule: of its returns.
      rule: how priorities become chances and weights.
      axis_name: mesh axis over which environments are split; None for one device.
    """
    # Both levels have the same size for one environment; more environments add blocks.
    block_rows = max(1, round(math.sqrt(layout.num_rows)))
    num_blocks = -(-layout.num_rows // block_rows)

    def init(num_envs: int) -> Masses:
        blocks = jnp.zeros((num_envs, num_blocks), jnp.float32)
        return Masses(jnp.zeros((*blocks.shape, block_rows), jnp.float32), blocks, blocks)

    def place(row: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The block of a row, and its number in it."""
        slot = row % layout.num_rows
        return slot // block_rows, slot % block_rows

    def added(state: Masses, written: ring.RingState) -> Masses:
        """The oldest rows lose their history, and the row whose future is known can be drawn."""
        newest = written.count - 1
        low, high = returns.transition_rows(layout, return_rule, written)
        largest = jnp.max(state.largest)
        ready = high - 1
        is_last = written.flags[ready % layout.num_rows] & ring.LAST != 0
        can_be_drawn = ~is_last & (ready >= low)
        new = jnp.where(can_be_drawn, jnp.where(largest > 0, largest, 1.0), 0.0)
        nothing = jnp.zeros_like(new)
        # In this order: in a small ring the same row may be two of them. Where there is no such row
        # yet, the slot has no row either, or one that may not be drawn.
        changes = ((newest, nothing), (ready, new), (low - 1, nothing))
        mass = state.mass
        for row, values in changes:  # low - 1: overwritten next, or without its history
            at = (jnp.zeros_like(row), *place(row))
            mass = jax.lax.dynamic_update_slice(mass, values[:, None, None], at)
        state = state.replace(mass=jax.lax.optimization_barrier(mass))
        for row, _ in changes:
            state = _summed(state, place(row)[0])
        return state

    def draw(
        rows: ring.RingState, key: jax.Array, state: Masses, batch_size: int, updates: jax.Array
    ) -> api.Drawn:
        """Stratified: each draw has an equal share of the whole mass to itself."""
        block_key, row_key = jax.random.split(key)
        shares = (
            jnp.arange(batch_size) + jax.random.uniform(block_key, (batch_size,))
        ) / batch_size
        chosen = find(jnp.ravel(state.total), shares)
        env, block = chosen // num_blocks, chosen % num_blocks
        inside = state.mass[env, block]  # [B, K]
        shares = jax.random.uniform(row_key, (batch_size, 1))
        number = jax.vmap(find)(inside, shares)[:, 0]
        newest = rows.count - 1
        row = newest - (newest - block * block_rows - number) % layout.num_rows
        mass = state.mass[env, block, number]
        whole = own = jnp.sum(state.total)
        if axis_name:
            whole = jax.lax.psum(own, axis_name)
        chance = mass / whole
        progress = jnp.minimum(updates / rule.weight_updates, 1.0)
        beta = rule.weight_start + progress * (rule.weight_end - rule.weight_start)
        weight = jnp.where(mass > 0, chance, 1.0) ** -beta
        most = jnp.max(weight)
        if axis_name:
            # Each device draws equally many, whatever its share of the mass.
            most = jax.lax.pmax(most, axis_name)
            weight = weight * (jax.lax.axis_size(axis_name) * own / whole)
        return api.Drawn(row, env, weight / most)

    def learned(
        state: Masses, drawn: api.Drawn, priority: jax.Array, accepted: jax.Array
    ) -> Masses:
        """Of a transition that was drawn twice, the larger priority counts.

        Where it is not finite, the old one stays: a single one would decide all draws from then on.
        """
        chex.assert_equal_shape([drawn.row, priority])
        block, number = place(drawn.row)
        at = jnp.stack([drawn.row, drawn.env], axis=1)
        same = jnp.all(at[:, None] == at[None], axis=-1)
        of_each = (priority + rule.epsilon) ** rule.exponent
        new = jnp.max(jnp.where(same, of_each[None, :], 0.0), axis=1)
        is_valid = accepted & jnp.isfinite(new)
        new = jnp.where(is_valid, new, state.mass[drawn.env, block, number])
        state = state.replace(mass=state.mass.at[drawn.env, block, number].set(new))
        inside = state.mass[drawn.env, block]
        return state.replace(
            total=state.total.at[drawn.env, block].set(jnp.sum(inside, axis=1)),
            largest=state.largest.at[drawn.env, block].set(jnp.max(inside, axis=1)),
        )

    def statistics(state: Masses) -> dict[str, jax.Array]:
        """Percentiles of the priorities in the replay, or in a part that is spread over it."""
        flat = state.mass.reshape(-1)
        if not rule.exponent:
            return {}  # masses do not tell
        some = flat[:: -(-flat.shape[0] // _SHOWN) | 1]  # odd: the rows of groups alternate
        priority = some ** (1 / rule.exponent) - rule.epsilon
        found = jnp.nanquantile(
            jnp.where(some > 0, priority, jnp.nan), jnp.array(_PERCENTILES) / 100
        )
        return {f"priority_p{p}": found[i] for i, p in enumerate(_PERCENTILES)}

    return api.Sampler(draw, init, added, statistics, learned)


def _summed(state: Masses, block: jax.Array) -> Masses:
    """Recomputes a block of each environment."""
    inside = jax.lax.dynamic_index_in_dim(state.mass, block, axis=1, keepdims=False)
    put = jax.lax.dynamic_update_index_in_dim
    return state.replace(
        total=put(state.total, jnp.sum(inside, axis=1), block, axis=1),
        largest=put(state.largest, jnp.max(inside, axis=1), block, axis=1),
    )


def find(masses: jax.Array, shares: jax.Array) -> jax.Array:
    """The indices [B] at shares [B], from 0 to 1, of the sum of masses [M]; none of mass 0.

    Where devices sum in parts, running sums of float32 need not rise, and may pass the whole.
    """
    running = jax.lax.cummax(jnp.cumsum(masses))
    indices = jnp.arange(masses.shape[0])
    # Unrolled, the search is one operation of an accelerator, instead of several for each halving.
    found = jnp.searchsorted(running, shares * running[-1], side="right", method="scan_unrolled")
    # The nearest one before it that has mass, or the first of all.
    has_mass = masses > 0
    last_before = jax.lax.cummax(jnp.where(has_mass, indices, -1))
    nearest = last_before[jnp.minimum(found, masses.shape[0] - 1)]
    return jnp.where(nearest < 0, jnp.argmax(has_mass), nearest)
