"""Encoders against plain networks of flax, and by the sizes that papers state."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.agent import normalization, spectral
from jaxdqn.agent.encoders import impala
from jaxdqn.algorithms import dqn
from jaxdqn.assembly import parts
from jaxdqn.envs import api as envs
from jaxdqn.settings import presets
from tests import updates

ATARI = envs.EnvSpec("Breakout-v5", (84, 84), np.dtype("uint8"), 4, 4)
SMALL = envs.EnvSpec("Breakout-v5", (21, 18), np.dtype("uint8"), 4, 4)


FIRST = ("stack_0_kernel", "conv_0_kernel")


def make(spec=SMALL, **changes):
    config = presets.resolve(
        "Breakout", "atari", {"hidden_sizes": (8,), "conv_init": "he_normal", **changes}
    )
    return config, parts.make_network(config, spec, lambda: "matmul")


def images(spec=SMALL, size=2, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.integers(0, 256, (size, 4, *spec.frame_shape)), jnp.uint8)


@pytest.mark.parametrize(
    ("changes", "features"),
    [
        ({"network": "impala"}, 3_872),
        ({"network": "impala", "impala_width": 2, "pooled_size": 6}, 2_304),
        ({"network": "hadamax"}, 7_744),
        ({"network": "nature"}, 3_136),
        ({"network": "small"}, 1_568),
    ],
)
def test_features_are_as_many_as_papers_say(changes, features):
    _, network = make(ATARI, **changes)
    params = jax.eval_shape(network.init, jax.random.key(0), images(ATARI))
    assert params["params"]["Dense_0"]["kernel"].shape[0] == features


def plain_conv(params, name, x, features, size):
    layer = nn.Conv(features, (size, size), padding="SAME")
    return layer.apply(
        {"params": {"kernel": params[f"{name}_kernel"], "bias": params[f"{name}_bias"]}}, x
    )


def plain_norm(params, name, x):
    if name not in params:
        return x
    return nn.LayerNorm().apply({"params": params[name]}, x)


def plain_impala(params, x, width):
    for i, features in enumerate((16, 32, 32)):
        x = plain_conv(params, f"stack_{i}", x, width * features, 3)
        x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
        for j in range(2):
            name, y = f"stack_{i}_block_{j}", x
            for k in range(2):
                y = nn.relu(plain_norm(params, f"{name}_norm_{k}", y))
                y = plain_conv(params, f"{name}_conv_{k}", y, width * features, 3)
            x = x + y
    return nn.relu(plain_norm(params, "last_norm", x))


def plain_hadamax(params, x):
    for i, (features, size, pool, stride) in enumerate(
        ((32, 8, 4, 4), (64, 4, 2, 2), (64, 3, 3, 1))
    ):
        both = plain_conv(params, f"conv_{i}", x, 2 * features, size)
        one, two = (
            plain_norm(params, f"conv_{i}_norm_{j}", both[..., j * features : (j + 1) * features])
            for j in range(2)
        )
        x = nn.max_pool(nn.gelu(one) * nn.gelu(two), (pool, pool), (stride, stride), "SAME")
    return x


@pytest.mark.parametrize(
    ("changes", "plain", "activate"),
    [
        ({"network": "impala", "impala_width": 2}, lambda p, x: plain_impala(p, x, 2), nn.relu),
        (
            {"network": "impala", "layer_norm": "channels"},
            lambda p, x: plain_impala(p, x, 1),
            nn.relu,
        ),
        ({"network": "hadamax"}, plain_hadamax, nn.gelu),
        ({"network": "hadamax", "layer_norm": "channels"}, plain_hadamax, nn.gelu),
    ],
)
@jax.numpy_rank_promotion("allow")  # by flax
def test_encoders_equal_plain_ones(changes, plain, activate):
    _, network = make(**changes)
    params = jax.jit(network.init)(jax.random.key(1), images())
    layers = params["params"]

    def expected(layers):
        # Scaled like this, the same pixels are the largest of their windows, also by rounding.
        scaled = {name: layers["torso"][name] / 255 for name in FIRST if name in layers["torso"]}
        frames = images().transpose(0, 2, 3, 1).astype(jnp.float32)
        x = plain({**layers["torso"], **scaled}, frames)
        x = x.reshape(len(x), -1) @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"]
        x = activate(plain_norm(layers, "Dense_0_norm", x))
        return x @ layers["Dense_1"]["kernel"] + layers["Dense_1"]["bias"]

    def gradients_and_values(q_values, params):
        def total(params):
            values = q_values(params)
            return jnp.sum(values**2), values

        return jax.jit(jax.grad(total, has_aux=True))(params)

    found, values = gradients_and_values(lambda p: network.q_values(p, images()), params)
    gradients, expected_values = gradients_and_values(expected, layers)
    np.testing.assert_allclose(values, expected_values, rtol=2e-4, atol=2e-4)
    for a, b in zip(jax.tree.leaves(found["params"]), jax.tree.leaves(gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-4 * max(1, np.abs(b).max()))


CONV = {"network": "conv", "conv_features": (5,), "conv_sizes": (3,), "conv_strides": (2,)}
CHANNELS_FIRST = SMALL._replace(frame_shape=(3, 21, 18))
CHANNELS_LAST = SMALL._replace(frame_shape=(21, 18, 3))


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int16", "bool"])
def test_all_channels_of_all_frames_are_inputs_of_a_plain_convolution(dtype):
    frames = (images(CHANNELS_FIRST) % 2 if dtype == "bool" else images(CHANNELS_FIRST)).astype(
        dtype
    )
    _, network = make(CHANNELS_FIRST, **CONV, hidden_sizes=())
    params = jax.jit(network.init)(jax.random.key(1), frames)
    torso, dense = params["params"]["torso"], params["params"]["Dense_0"]
    channels = [frames[:, s, c] for s in range(4) for c in range(3)]  # the oldest frame first
    x = jnp.stack(channels, axis=-1).astype(jnp.float32) / (255 if dtype == "uint8" else 1)
    plain = nn.Conv(5, (3, 3), strides=(2, 2), padding="VALID")
    kernel = {"kernel": torso["conv_0_kernel"], "bias": torso["conv_0_bias"]}
    with jax.numpy_rank_promotion("allow"):  # by flax
        x = nn.relu(plain.apply({"params": kernel}, x))
    expected = x.reshape(2, -1) @ dense["kernel"] + dense["bias"].reshape(1, -1)
    found = network.q_values(params, frames)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "impala"},
        {"network": "hadamax"},
        CONV,
        {**CONV, "conv_padding": "same"},
        {"network": "nature"},
    ],
)
def test_equal_images_have_equal_values_wherever_their_channels_are(changes):
    large = changes["network"] == "nature"
    first, last = (
        spec._replace(frame_shape=tuple(2 * n if n > 3 else n for n in spec.frame_shape))
        if large
        else spec
        for spec in (CHANNELS_FIRST, CHANNELS_LAST)
    )
    frames = images(first)
    moved = frames.transpose(0, 1, 3, 4, 2)
    (_, network), (_, other) = make(first, **changes), make(last, **changes)
    params = jax.jit(network.init)(jax.random.key(1), frames)
    again = jax.jit(other.init)(jax.random.key(1), moved)
    jax.tree.map(np.testing.assert_array_equal, params, again)
    values = jax.jit(network.q_values)(params, frames)
    np.testing.assert_array_equal(values, jax.jit(other.q_values)(params, moved))
    assert np.ptp(values[0]) > 0


@pytest.mark.parametrize(
    ("network", "shape", "needed"),
    [
        ("nature", (3, 36, 40), ""),
        ("nature", (36, 40, 3), ""),
        ("small", (3, 35, 40), "images of at least 36x36"),
        ("small", (35, 40, 4), "images of at least 36x36"),
        ("nature", (36,), "images of at least 36x36"),
        ("impala", (10, 10, 10), ""),
        ("impala", (7,), "images"),
        ("hadamax", (1, 3, 84, 84), "images"),
    ],
)
def test_frames_that_are_refused(network, shape, needed):
    config, _ = make(network=network)
    assert parts.make_encoder(config).needs(shape) == needed


@pytest.mark.parametrize(("height", "width", "size"), [(11, 11, 6), (7, 12, 3), (2, 5, 4)])
def test_adaptive_pooling_equals_loops(height, width, size):
    x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
    found = impala.adaptive_max_pool(jnp.asarray(x), size)
    for i in range(size):
        for j in range(size):
            part = x[
                :,
                int(np.floor(i * height / size)) : int(np.ceil((i + 1) * height / size)),
                int(np.floor(j * width / size)) : int(np.ceil((j + 1) * width / size)),
            ]
            np.testing.assert_array_equal(found[:, i, j], part.max(axis=(1, 2)))


class Normed(nn.Module):
    placement: str

    @nn.compact
    def __call__(self, x):
        return normalization.normalize(x, self.placement, "norm", jnp.float32)


@pytest.mark.parametrize(
    ("placement", "shape", "axes", "gains"),
    [
        ("channels", (2, 3, 4, 5), (3,), (5,)),
        ("maps", (2, 3, 4, 5), (1, 2, 3), (3, 4, 5)),
        ("channels", (2, 7, 5), (2,), (5,)),
        ("maps", (2, 7, 5), (2,), (5,)),  # of a dense layer, for each fraction of IQN
        ("maps", (2, 5), (1,), (5,)),
    ],
)
def test_normalization_by_hand(placement, shape, axes, gains):
    x = np.random.default_rng(0).normal(3, 2, size=shape).astype(np.float32)
    params = Normed(placement).init(jax.random.key(0), jnp.asarray(x))
    assert params["params"]["norm"]["scale"].shape == gains
    mean, deviation = x.mean(axes, keepdims=True), x.std(axes, keepdims=True)
    found = Normed(placement).apply(params, jnp.asarray(x))
    np.testing.assert_allclose(found, (x - mean) / deviation, atol=1e-4)


def test_the_largest_singular_value_becomes_one():
    """diag(3, 1) becomes diag(1, 1/3)."""
    kernel, vector = jnp.diag(jnp.array([3.0, 1])), jnp.array([0.6, 0.8])
    for _ in range(20):
        vector = spectral.power_step(kernel, vector)
    np.testing.assert_allclose(vector, [1, 0], atol=1e-6)

    class One(nn.Module):
        @nn.compact
        def __call__(self):
            kernel = self.param("kernel", nn.initializers.zeros, (2, 2))
            return spectral.normalize(self, "kernel", kernel)

    variables = {"params": {"kernel": kernel}, "spectral": {"kernel": vector}}
    np.testing.assert_allclose(One().apply(variables), jnp.diag(jnp.array([1, 1 / 3])), atol=1e-6)
    # As if the vectors were constants: no change along the singular vectors alone.
    gradient = jax.grad(lambda p: jnp.sum(One().apply({**variables, "params": p})[0, 0]))
    np.testing.assert_allclose(gradient({"kernel": kernel})["kernel"][0, 0], 0, atol=1e-6)


def test_singular_vectors_step_once_an_update_and_never_else():
    config, network = make(
        network="impala", spectral_norm=True, target_tau=1.0, target_period_updates=1
    )
    learner = dqn.make_learner(config, SMALL, None)
    batch = updates.batch(SMALL.frame_shape)
    batch = batch.replace(discount=jnp.ones_like(batch.discount))
    state = jax.jit(learner.init)(jax.random.key(0), jnp.asarray(batch.observation[:1]))
    vectors = state.params["spectral"]
    assert len(jax.tree.leaves(vectors)) == 12  # two of each of six blocks
    after, metrics, _ = jax.jit(learner.update)(state, batch, jax.random.key(1))
    assert metrics["accepted"]
    # One step with the new kernels.
    torso, stepped = after.params["params"]["torso"], after.params["spectral"]["torso"]
    for name, vector in vectors["torso"].items():
        expected = jax.jit(spectral.power_step)(torso[name], vector)
        np.testing.assert_allclose(stepped[name], expected, rtol=1e-4, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, after.target_params, after.params)
    # Many updates find the value that `numpy` finds.
    renew_often = jax.jit(
        lambda params: jax.lax.fori_loop(0, 200, lambda _, found: spectral.renewed(found), params)
    )
    stable = renew_often(after.params)
    for name, vector in stable["spectral"]["torso"].items():
        matrix = np.asarray(torso[name]).reshape(-1, torso[name].shape[-1])
        largest = np.linalg.svd(matrix, compute_uv=False)[0]
        assert np.linalg.norm(matrix @ vector) == pytest.approx(largest, rel=1e-3)
    # Its value is that of its parameters, whoever asks.
    before = jax.tree.map(np.array, after.params)
    jax.jit(network.q_values)(after.params, batch.observation)
    jax.tree.map(np.testing.assert_array_equal, after.params, before)
