"""Every transition in the ring is drawn equally often, or ends of games more often than others."""

import jax
import jax.numpy as jnp

from jaxdqn.replay import returns, ring
from jaxdqn.replay.samplers import api
from jaxdqn.settings import config as config_lib

# Candidates drawn for one transition; the first that is not a game's last row is used. If one row
# in ten were a last row, all eight would be last rows once in 1e8 draws; then a neighbor is used.
_CANDIDATES = 8


def make(
    config: config_lib.Config, layout: ring.Layout, rule: returns.ReturnRule, _: str | None
) -> api.Sampler:
    """The sampler of a run; each device draws its share by itself."""
    return uniform(layout, rule, config.terminal_repeats)


def uniform(
    layout: ring.Layout, rule: returns.ReturnRule, terminal_repeats: int = 1
) -> api.Sampler:
    """Builds a sampler.

    Args:
      layout: of the ring.
      rule: of its returns.
      terminal_repeats: how often a step that ends the game itself is drawn for one draw of another.
    """

    def draw(
        state: ring.RingState, key: jax.Array, _: object, batch_size: int, updates: object = None
    ) -> api.Drawn:
        low, high = returns.transition_rows(layout, rule, state)
        rows_key, envs_key = jax.random.split(key)
        shape = (_CANDIDATES, batch_size)
        rows = jax.random.randint(rows_key, shape, low, jnp.maximum(high, low + 1))
        envs = jax.random.randint(envs_key, shape, 0, state.flags.shape[1])
        # After a game's last row the environment ignores the action: no transition starts there.
        is_last = state.flags[rows % layout.num_rows, envs] & ring.LAST != 0
        refused = is_last
        if terminal_repeats > 1:
            ends = state.flags[(rows + layout.stride) % layout.num_rows, envs] & rule.over != 0
            share = jax.random.uniform(jax.random.fold_in(key, 2), shape)
            refused |= ~ends & (share * terminal_repeats >= 1)
        best = jnp.argmin(refused, axis=0)  # the first candidate that is not
        pick = jnp.arange(batch_size)
        row, env, still_last = rows[best, pick], envs[best, pick], is_last[best, pick]
        # Two last rows hardly ever follow each other: the neighbor starts a transition.
        neighbour = jnp.where(row - layout.stride >= low, row - layout.stride, row + layout.stride)
        return api.Drawn(jnp.where(still_last, neighbour, row), env, weight=None)

    return api.Sampler(draw)
