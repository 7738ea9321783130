"""Lambda returns by hand, by rlax, and out of a ring against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from jaxdqn.replay import returns, ring, rollouts

STRIDE, STACK, ENVS, ACTIONS, STEPS = 2, 3, 3, 4, 7
GAMMA, LAMBDA = 0.9, 0.6


def test_lambda_returns_by_hand():
    """Rewards 1, 0 and 2, of which the last ends the game."""

    def column(*values):
        return jnp.asarray(values, jnp.float32)[:, None]

    found = rollouts.lambda_returns(
        column(1, 0, 2), column(0.5, 0.5, 0), column(4, 2, 9), column(0.5, 0.5, 0.5)
    )
    np.testing.assert_allclose(found[:, 0], [2.25, 1, 2])


@pytest.mark.parametrize("trace", [0.0, 0.65, 1.0])
def test_lambda_returns_agree_with_rlax(trace):
    rng = np.random.default_rng(0)
    reward, value = (jnp.asarray(rng.normal(size=(9, 2)), jnp.float32) for _ in range(2))
    discount = jnp.asarray(rng.random((9, 2)) > 0.3, jnp.float32) * 0.97
    found = rollouts.lambda_returns(reward, discount, value, jnp.full((9, 2), trace))
    for i in range(2):
        expected = rlax.lambda_returns(reward[:, i], discount[:, i], value[:, i], trace)
        np.testing.assert_allclose(found[:, i], expected, rtol=1e-5, atol=1e-5)


def play(layout, num_rows, seed, cut_at):
    """A ring after random games, and everything that was written."""
    rng = np.random.default_rng(seed)
    state, history = ring.init(layout, ENVS), []
    add = jax.jit(lambda state, row, action, values: ring.add(layout, state, row, action, values))
    for number in range(num_rows):
        if number in cut_at:
            state = ring.cut(layout, state)
            for earlier in history[-STRIDE:]:
                earlier["cut"] = True
        row = ring.blank_row(ENVS, (1,), np.uint8).replace(
            reward=rng.normal(size=ENVS).astype(np.float32),
            terminated=rng.random(ENVS) < 0.15,
            truncated=rng.random(ENVS) < 0.15,
            life_lost=rng.random(ENVS) < 0.15,
        )
        action = rng.integers(0, ACTIONS, ENVS).astype(np.int32)
        values = rng.normal(size=(ENVS, ACTIONS)).astype(np.float32)
        state = add(state, row, action, {ring.Q_VALUES: values})
        history.append({"row": row, "action": action, "values": values, "cut": False})
    return state, history


def expected_return(history, row, env, last, life_loss_ends):
    """By recursion, as the definition has it."""
    following = history[row + STRIDE]
    seen = following["row"]
    reward, value = seen.reward[env], np.max(following["values"][env])
    if seen.terminated[env] or (life_loss_ends and seen.life_lost[env]):
        return reward
    if seen.truncated[env] or following["cut"] or row + STRIDE >= last:
        return reward + GAMMA * value
    later = expected_return(history, row + STRIDE, env, last, life_loss_ends)
    return reward + GAMMA * ((1 - LAMBDA) * value + LAMBDA * later)


@pytest.mark.parametrize("life_loss_ends", [False, True])
@pytest.mark.parametrize(("num_rows", "cut_at"), [(20, ()), (63, (55,)), (90, ())])
def test_a_rollout_equals_loops(num_rows, cut_at, life_loss_ends):
    layout = ring.Layout(
        STRIDE * (STEPS + STACK),
        (1,),
        jnp.dtype("uint8"),
        STACK,
        STRIDE,
        extras={ring.Q_VALUES: (ACTIONS,)},
    )
    rule = returns.ReturnRule(n_step=1, discount=GAMMA, life_loss_ends=life_loss_ends)
    state, history = play(layout, num_rows, num_rows, cut_at)
    found = jax.jit(lambda state: rollouts.rollout(layout, rule, state, STEPS, LAMBDA))(state)
    last = num_rows - STRIDE  # its value is all that is known of what follows
    steps = 0
    for t, group in np.ndindex(STEPS, STRIDE):
        row = int(found.row[t, group])
        assert row == num_rows - (STEPS + 1) * STRIDE + t * STRIDE + group
        for env in range(ENVS):
            seen = history[row]["row"]
            is_step = not (seen.terminated[env] or seen.truncated[env] or history[row]["cut"])
            assert found.is_step[t, group, env] == is_step
            value = history[row]["values"][env][history[row]["action"][env]]
            assert found.value[t, group, env] == value
            if is_step:
                steps += 1
                expected = expected_return(history, row, env, last, life_loss_ends)
                np.testing.assert_allclose(
                    found.lambda_return[t, group, env], expected, rtol=1e-5, atol=1e-5
                )
    assert steps > STEPS * ENVS
