import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from jaxdqn.agent import losses

# Q(s, .), action, reward, discount, target and online Q(s', .) of one transition.
DOUBLE_Q = ([1.0, 2.0], 1, 0.5, 0.9, [3.0, 4.0], [7.0, 6.0])


def q_td_error(q_tm1, a_tm1, r_t, discount_t, q_t):
    """Plain Q-learning: the target network chooses for itself."""
    return losses.double_q_td_error(q_tm1, a_tm1, r_t, discount_t, q_t, q_t)


class LossesTest(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_q_td_error_by_hand(self):
        td_error = self.variant(q_td_error)(
            jnp.array([1.0, 2.0]), jnp.int32(1), 0.5, 0.9, jnp.array([3.0, 4.0])
        )
        np.testing.assert_allclose(td_error, 0.5 + 0.9 * 4 - 2, rtol=1e-6)

    @chex.variants(with_jit=True, without_jit=True)
    def test_double_q_td_error_by_hand(self):
        # The online network prefers action 0, which the target network values at 3.
        td_error = self.variant(losses.double_q_td_error)(*map(jnp.asarray, DOUBLE_Q))
        np.testing.assert_allclose(td_error, 0.5 + 0.9 * 3 - 2, rtol=1e-6)

    @chex.variants(with_jit=True, without_jit=True)
    def test_end_of_game_takes_the_reward_alone(self):
        td_error = self.variant(q_td_error)(
            jnp.array([1.0, 2.0]), jnp.int32(0), -1.0, 0.0, jnp.array([3.0, 4.0])
        )
        np.testing.assert_allclose(td_error, -1 - 1, rtol=1e-6)


def test_huber_by_hand():
    np.testing.assert_allclose(
        losses.huber(jnp.array([-3.0, -0.5, 0.0, 2.0]), 1.0), [2.5, 0.125, 0.0, 1.5], rtol=1e-6
    )
    np.testing.assert_allclose(losses.huber(jnp.array([3.0]), 2.0), [4.0], rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_rlax(seed):
    rng = np.random.default_rng(seed)
    q_tm1, q_t, q_select = (jnp.asarray(rng.normal(size=(64, 5)), jnp.float32) for _ in range(3))
    action = jnp.asarray(rng.integers(0, 5, 64), jnp.int32)
    reward, discount = (jnp.asarray(rng.normal(size=64), jnp.float32) for _ in range(2))
    np.testing.assert_allclose(
        jax.vmap(q_td_error)(q_tm1, action, reward, discount, q_t),
        jax.vmap(rlax.q_learning)(q_tm1, action, reward, discount, q_t),
        rtol=1e-5,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        jax.vmap(losses.double_q_td_error)(q_tm1, action, reward, discount, q_t, q_select),
        jax.vmap(rlax.double_q_learning)(q_tm1, action, reward, discount, q_t, q_select),
        rtol=1e-5,
        atol=1e-5,
    )
    np.testing.assert_allclose(losses.huber(q_tm1, 0.7), rlax.huber_loss(q_tm1, 0.7), rtol=1e-5)


def test_gradient_flows_through_the_prediction_alone():
    arguments = map(jnp.asarray, DOUBLE_Q)
    grads = jax.grad(losses.double_q_td_error, argnums=(0, 4, 5))(*arguments)
    np.testing.assert_array_equal(grads[0], [0.0, -1.0])
    np.testing.assert_array_equal(grads[1], [0.0, 0.0])
    np.testing.assert_array_equal(grads[2], [0.0, 0.0])
