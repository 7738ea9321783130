"""What follows transitions, by hand and by rlax. The networks here are tables of outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from jaxdqn.agent import munchausen, networks, q_learning
from jaxdqn.agent.heads import api, hl_gauss, qr, scalar
from jaxdqn.replay import returns

HEAD = scalar.scalar(lambda td_error: td_error)  # so that losses are TD errors
KEY = jax.random.key(0)
TAU, FACTOR = 0.03, 0.9


def table(head, num_observations):
    """A network whose parameters are its outputs, [number of observations, A, K]."""

    def outputs(params, observation, keys=None):
        del keys
        return api.Outputs(params[observation])

    def q_values(params, observation, keys=None):
        return jax.vmap(head.values)(outputs(params, observation, keys))

    return networks.Network(lambda *_: jnp.zeros(num_observations), outputs, q_values)


def batch_of(action, reward, discount):
    """Observations 0 to B - 1, which lead to B to 2 B - 1."""
    size = len(action)
    return returns.Batch(
        observation=jnp.arange(size),
        action=jnp.asarray(action, jnp.int32),
        reward=jnp.asarray(reward, jnp.float32),
        discount=jnp.asarray(discount, jnp.float32),
        next_observation=size + jnp.arange(size),
    )


def td_errors(bootstrap, head, online, target, batch):
    """Of value tables [2 B, A]."""
    tables = (jnp.asarray(values, jnp.float32)[..., None] for values in (online, target))
    loss = q_learning.make_loss(table(head, len(online)), head, bootstrap)
    return loss(*tables, batch, KEY)[0]


def greedy_errors(online, target, batch, double_q):
    network = table(HEAD, len(online))
    bootstrap = q_learning.greedy(network, HEAD, double_q=double_q)
    return td_errors(bootstrap, HEAD, online, target, batch)


def test_q_learning_by_hand():
    """The online network prefers action 0 of the state reached, the target network action 1."""
    online, target = [[1.0, 2], [7, 6]], [[0.0, 0], [3, 4]]
    batch = batch_of([1], [0.5], [0.9])
    found = greedy_errors(online, target, batch, double_q=True)
    np.testing.assert_allclose(found, [0.5 + 0.9 * 3 - 2], rtol=1e-6)
    found = greedy_errors(online, target, batch, double_q=False)
    np.testing.assert_allclose(found, [0.5 + 0.9 * 4 - 2], rtol=1e-6)
    over = batch_of([0], [-1.0], [0.0])
    np.testing.assert_allclose(greedy_errors(online, target, over, double_q=True), [-1 - 1])


def random_case(seed):
    rng = np.random.default_rng(seed)
    online, target = rng.normal(size=(2, 128, 5)).astype(np.float32)
    action = rng.integers(0, 5, 64)
    batch = batch_of(action, rng.normal(size=64), rng.normal(size=64))
    return online, target, batch


@pytest.mark.parametrize("seed", range(3))
def test_q_learning_agrees_with_rlax(seed):
    online, target, batch = random_case(seed)
    of = jnp.asarray(online[:64]), batch.action, batch.reward, batch.discount, target[64:]
    np.testing.assert_allclose(
        greedy_errors(online, target, batch, double_q=False),
        jax.vmap(rlax.q_learning)(*of),
        rtol=1e-5,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        greedy_errors(online, target, batch, double_q=True),
        jax.vmap(rlax.double_q_learning)(*of, online[64:]),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("double_q", [True, False])
def test_the_gradient_flows_through_the_prediction_alone(double_q):
    online, target, batch = random_case(0)
    network = table(HEAD, len(online))
    loss = q_learning.make_loss(network, HEAD, q_learning.greedy(network, HEAD, double_q=double_q))
    online, target = (jnp.asarray(values)[..., None] for values in (online, target))
    grads = jax.grad(lambda *tables: loss(*tables, batch, KEY)[0].sum(), argnums=(0, 1))(
        online, target
    )
    expected = np.zeros(online.shape)
    expected[np.arange(64), batch.action] = -1
    np.testing.assert_array_equal(grads[0], expected)
    np.testing.assert_array_equal(grads[1], np.zeros(target.shape))


def soft(head, num_observations, bonus_min=-1.0):
    return munchausen.soft(
        table(head, num_observations),
        head,
        temperature=TAU,
        bonus_factor=FACTOR,
        bonus_min=bonus_min,
    )


@pytest.mark.parametrize(("action", "expected"), [(1, 0.139004), (0, 1.039004)])
def test_munchausen_by_hand(action, expected):
    """The improbable action's bonus, near -1, is that of the target network's policy."""
    online, target = np.zeros((2, 2)), [[1.0, 0], [0.03, 0]]
    batch = batch_of([action], [1.0], [0.99])
    found = td_errors(soft(HEAD, 2), HEAD, online, target, batch)
    np.testing.assert_allclose(found, [expected], atol=1e-5)


def test_a_bonus_is_limited():
    online, target = np.zeros((2, 2)), [[5.0, 0], [0.0, -9.0]]
    batch = batch_of([1], [0.0], [0.0])
    assert td_errors(soft(HEAD, 2), HEAD, online, target, batch) == pytest.approx(-FACTOR)
    far = td_errors(soft(HEAD, 2, -100.0), HEAD, online, target, batch)
    assert far == pytest.approx(-5 * FACTOR, rel=1e-4)


def test_munchausen_agrees_with_the_literal_formula():
    """Also where softmax alone would overflow, and with quantiles and histograms."""
    rng = np.random.default_rng(0)
    scale = 20.0
    for head, following in (
        (HEAD, lambda numbers, _: numbers),
        (qr.quantile_head(3, 1.0), lambda numbers, _: numbers),
        (
            hl_gauss.hl_gauss(np.linspace(-1, 1, 4, dtype=np.float32), 0.75),
            lambda _, values: values[:, None],
        ),
    ):
        numbers = scale * rng.normal(size=(16, 4, head.num_outputs)).astype(np.float32)
        values = np.asarray(jax.vmap(head.values)(api.Outputs(jnp.asarray(numbers))), np.float64)
        batch = batch_of(rng.integers(0, 4, 8), np.ones(8), np.full(8, 0.9))
        bootstrap = soft(head, 16)
        reward, found = bootstrap({}, jnp.asarray(numbers), batch, jnp.zeros((3, 8)))
        log_policy = values / TAU
        log_policy -= np.log(np.sum(np.exp(log_policy - log_policy.max(1, keepdims=True)), 1))[
            :, None
        ] + log_policy.max(1, keepdims=True)
        for i, action in enumerate(np.asarray(batch.action)):
            bonus = FACTOR * np.clip(TAU * log_policy[i, action], -1, 0)
            np.testing.assert_allclose(reward[i], 1 + bonus, rtol=1e-4, atol=1e-4)
            policy = np.exp(log_policy[8 + i])
            expected = sum(
                policy[a]
                * (following(numbers[8 + i], values[8 + i])[a] - TAU * log_policy[8 + i, a])
                for a in range(4)
            )
            np.testing.assert_allclose(np.ravel(found[i]), expected, rtol=1e-3, atol=1e-3)
