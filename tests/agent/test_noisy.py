"""Noisy layers by hand, and what draws for itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.agent import noisy, q_learning
from jaxdqn.assembly import parts
from jaxdqn.envs import api as envs
from jaxdqn.replay import returns
from jaxdqn.settings import presets

CARTPOLE = envs.EnvSpec("CartPole-v1", (4,), np.dtype("float32"), 2, 1)
KEYS = jax.random.split(jax.random.key(7), 3)


def network(**changes):
    changes = {"hidden_sizes": (16, 8), "noisy": True, **changes}
    config = presets.resolve("CartPole", "classic", changes)
    made = parts.make_network(config, CARTPOLE)
    return made, made.init(jax.random.key(0), jnp.zeros((1, 1, 4)))


def seen(size=3):
    """The same observation for all."""
    return jnp.broadcast_to(jnp.array([0.3, -1, 2, 0.5]), (size, 1, 4))


def test_a_noisy_output_by_hand():
    """Inputs 1 and 2, means 0, scales 1/2 / sqrt(2), noise of inputs 4 and 1, of the output -9."""
    scale, f = 0.5 / np.sqrt(2), noisy.square_root
    np.testing.assert_allclose(f(jnp.array([4.0, 1, -9, 0])), [2, 1, -3, 0])
    noised = jnp.array([[1.0, 2]]) * f(jnp.array([[4.0, 1]]))
    found = f(jnp.array([[-9.0]])) * noisy.dense(
        noised, jnp.full((2, 1), scale), jnp.full(1, scale), jnp.float32
    )
    np.testing.assert_allclose(found, [[-5.3033]], rtol=1e-5)


@pytest.mark.parametrize("rank", [2, 3])
def test_each_observation_has_weights_of_its_own(rank):
    """As with a matrix of weights for each, made of the outer product of its factors."""
    layer = noisy.NoisyDense(3, 0.5, jnp.float32)
    shape = (3, 2, 4)[:: 1 if rank == 3 else 2]
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    params = layer.init(jax.random.key(0), x, None)
    noise = noisy.draw(KEYS, {"layer": (4, 3)})["layer"]
    found = layer.apply(params, x, noise)
    of = jax.tree.map(np.asarray, params["params"])
    assert np.all(np.abs(of["kernel"]) <= 0.5) and np.ptp(of["kernel"]) > 0.5
    np.testing.assert_allclose(of["kernel_scale"], np.full((4, 3), 0.25))
    for b in range(3):
        outer = np.outer(noise.inputs[b], noise.outputs[b])
        kernel = of["kernel"] + of["kernel_scale"] * outer
        bias = of["bias"] + of["bias_scale"] * np.asarray(noise.outputs[b])
        np.testing.assert_allclose(found[b], np.asarray(x[b]) @ kernel + bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        layer.apply(params, x, None),
        np.asarray(x) @ of["kernel"] + of["bias"],
        rtol=1e-5,
        atol=1e-6,
    )


def test_noise_is_that_of_normal_draws():
    """E |f(e)|^2 = E |e| = sqrt(2 / pi); truncated draws would have 0.72."""
    keys = jax.random.split(jax.random.key(0), 2_000)
    drawn = noisy.draw(keys, {"one": (40, 50), "two": (50, 40)})
    assert [drawn["one"].inputs.shape, drawn["one"].outputs.shape] == [(2_000, 40), (2_000, 50)]
    noises = drawn["one"].inputs, drawn["two"].outputs
    for noise in noises:
        assert np.mean(noise**2) == pytest.approx(np.sqrt(2 / np.pi), abs=0.005)
        assert abs(np.mean(noise)) < 0.01
    assert abs(np.mean(noises[0] * noises[1])) < 0.01


@pytest.mark.parametrize("dueling", [False, True])
def test_layers_and_streams_draw_for_themselves(dueling):
    """Noise in one layer alone differs from that in another."""
    made, params = network(dueling=dueling)
    quiet = jax.tree.map(lambda leaf: leaf, params)
    for layer in quiet["params"].values():
        for name in ("kernel_scale", "bias_scale"):
            layer[name] = jnp.zeros_like(layer[name])
    plain = made.q_values(params, seen(), None)
    np.testing.assert_allclose(made.q_values(quiet, seen(), KEYS), plain, rtol=1e-6)
    noises = []
    for name in params["params"]:
        some = {"params": {**quiet["params"], name: params["params"][name]}}
        noises.append(np.asarray(made.q_values(some, seen(), KEYS) - plain).ravel())
    assert len(noises) == (6 if dueling else 3)
    for i, one in enumerate(noises):
        assert np.std(one) > 0
        for other in noises[:i]:
            assert not np.allclose(one, other)


def test_environments_explore_apart_and_are_evaluated_alike():
    config = presets.resolve("CartPole", "classic", {"noisy": True})
    frame, first = seen()[:, 0], jnp.ones(3, bool)
    params = parts.make_network(config, CARTPOLE).init(jax.random.key(0), seen(1))
    drawn = []
    for in_training, different in ((True, 3), (False, 1)):
        actor = parts.make_actor(config, CARTPOLE, in_training=in_training)
        state = actor.init(jax.random.key(1), 3)
        for _ in range(2):
            state, _, values = actor.act(params, state, frame, first, 0.0)
            assert len(np.unique(values[:, 0])) == different
            drawn.append(values)
    assert not np.allclose(drawn[0], drawn[1])  # anew at every step
    np.testing.assert_array_equal(drawn[2], drawn[3])


@pytest.mark.parametrize("double_q", [True, False])
def test_prediction_target_and_choice_draw_for_themselves(double_q):
    """With one table of parameters for all, whose noise alone tells them apart."""
    made, params = network()
    calls = []

    def outputs(params, observation, keys):
        calls.append(made.q_values(params, observation, keys))
        return made.outputs(params, observation, keys)

    head = parts.make_head(presets.resolve("CartPole", "classic", {}))
    bootstrap = q_learning.greedy(made._replace(outputs=outputs), head, double_q=double_q)
    loss = q_learning.make_loss(made._replace(outputs=outputs), head, bootstrap)
    batch = returns.Batch(
        observation=seen(),
        action=jnp.zeros(3, jnp.int32),
        reward=jnp.zeros(3),
        discount=jnp.ones(3),
        next_observation=seen(),
    )
    loss(params, params, batch, jax.random.key(0))
    assert len(calls) == 3
    assert len(np.unique(np.concatenate(calls), axis=0)) == 9


def test_scales_are_learned():
    made, params = network()

    def error(params):
        return jnp.mean((made.q_values(params, seen(), KEYS) - 1) ** 2)

    gradient = jax.grad(error)(params)["params"]["Dense_2"]
    assert np.any(gradient["kernel_scale"]) and np.any(gradient["bias_scale"])


def test_the_scale_of_the_noise_is_shown():
    _, params = network()
    scales = 4 * 16 * [0.5 / 2] + 16 * 8 * [0.5 / 4] + 8 * 2 * [0.5 / np.sqrt(8)]
    assert noisy.statistics(params)["noise_scale"] == pytest.approx(np.mean(scales), rel=1e-5)
    _, plain = network(noisy=False)
    assert noisy.statistics(plain) == {}
