import jax.numpy as jnp
import numpy as np
import rlax

from jaxdqn.agent import losses


def test_huber_by_hand():
    np.testing.assert_allclose(
        losses.huber(jnp.array([-3.0, -0.5, 0.0, 2.0]), 1.0), [2.5, 0.125, 0.0, 1.5], rtol=1e-6
    )
    np.testing.assert_allclose(losses.huber(jnp.array([3.0]), 2.0), [4.0], rtol=1e-6)


def test_huber_agrees_with_rlax():
    errors = jnp.asarray(np.random.default_rng(0).normal(size=(64, 5)), jnp.float32)
    np.testing.assert_allclose(losses.huber(errors, 0.7), rlax.huber_loss(errors, 0.7), rtol=1e-5)
