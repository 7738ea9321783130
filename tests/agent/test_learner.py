import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdqn.agent import learner as learner_lib
from jaxdqn.agent import networks, optimizers
from jaxdqn.agent.encoders import convolutions
from jaxdqn.agent.heads import scalar
from jaxdqn.assembly import parts
from jaxdqn.distributed import mesh
from jaxdqn.replay import returns
from jaxdqn.settings import presets
from tests import toy_networks, updates

# Q(s, .) = s @ w for states of two numbers: a network whose update can be worked out by hand.
LINEAR = toy_networks.linear(jnp.array([[1.0, 0.0], [0.0, 2.0]]))


def linear_learner(**settings):
    settings = {"target_tau": 0.25, "target_period_updates": 1, **settings}
    return toy_networks.learner(LINEAR, optax.sgd(0.1), **settings)


def one_transition(reward=0.5, discount=0.9):
    return returns.Batch(
        observation=jnp.array([[1.0, 1.0]]),
        action=jnp.array([0]),
        reward=jnp.array([reward]),
        discount=jnp.array([discount]),
        next_observation=jnp.array([[3.0, 1.0]]),
    )


def test_update_by_hand(key):
    learner = linear_learner()
    state = learner.init(key, jnp.zeros((1, 2)))
    # The two networks disagree: online says [3, 2] in the next state, target [0, 5].
    target = jnp.array([[0.0, 1.0], [0.0, 2.0]])
    state, metrics = jax.jit(learner.update)(state.replace(target_params=target), one_transition())
    # Online prefers action 0, which the target network values at 0: error = 0.5 + 0 - 1 = -0.5,
    # loss 0.125, gradient of the loss in w[:, 0] = 0.5 * s = [0.5, 0.5].
    np.testing.assert_allclose(metrics["loss"], 0.125, rtol=1e-6)
    np.testing.assert_allclose(metrics["grad_norm"], np.sqrt(0.5), rtol=1e-6)
    np.testing.assert_allclose(metrics["q_mean"], 2.0, rtol=1e-6)  # max of [1, 2]
    params = np.array([[0.95, 0.0], [-0.05, 2.0]])
    np.testing.assert_allclose(state.params, params, atol=1e-6)
    np.testing.assert_allclose(state.target_params, 0.75 * target + 0.25 * params, atol=1e-6)
    assert state.updates == 1


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_what_is_not_finite_changes_nothing(key, stop, bad):
    learner = linear_learner(stop_when_refused=stop)
    update, before = jax.jit(learner.update), learner.init(key, jnp.zeros((1, 2)))
    before = before.replace(target_params=jnp.zeros((2, 2)))
    state, metrics = update(before, one_transition(reward=bad))
    np.testing.assert_array_equal(state.params, before.params)
    # The target moves with each update that counts.
    assert bool(np.any(state.target_params != 0)) == (not stop)
    assert state.refused == 1 and state.updates == (0 if stop else 1)
    assert not metrics["accepted"] and not np.isfinite(metrics["loss"])
    np.testing.assert_array_equal(learner_lib.summands(metrics), 0)
    # A good one after it: the run is to stop, or goes on.
    state, metrics = update(state, one_transition())
    assert state.refused == 1 and state.updates == (0 if stop else 2)
    assert bool(metrics["accepted"]) == (not stop) == bool(np.any(state.params != before.params))


def test_without_double_q_the_target_chooses(key):
    learner = linear_learner(double_q=False)
    state = learner.init(key, jnp.zeros((1, 2)))
    target = jnp.array([[0.0, 1.0], [0.0, 2.0]])
    _, metrics = learner.update(state.replace(target_params=target), one_transition())
    error = 0.5 + 0.9 * 5 - 1  # beyond Huber's delta of 1
    np.testing.assert_allclose(metrics["loss"], error - 0.5, rtol=1e-6)


def test_hard_copy_every_third_update(key):
    learner = linear_learner(target_tau=1.0, target_period_updates=3)
    state, update = learner.init(key, jnp.zeros((1, 2))), jax.jit(learner.update)
    first = np.asarray(state.params)
    for count in range(1, 7):
        state, _ = update(state, one_transition())
        if count % 3 == 0:
            first = np.asarray(state.params)
        np.testing.assert_array_equal(state.target_params, first)


def test_rmsprop_is_centred_with_epsilon_inside_the_root():
    optimizer = optimizers.make_optimizer("rmsprop", 0.1, epsilon=0.01)
    params = jnp.array([1.0])
    deltas, _ = optimizer.update(jnp.array([2.0]), optimizer.init(params), params)
    mean, square = 0.05 * 2.0, 0.05 * 4.0
    np.testing.assert_allclose(deltas, [-0.1 * 2.0 / np.sqrt(square - mean**2 + 0.01)], rtol=1e-5)


def test_gradients_are_clipped_to_a_global_norm():
    optimizer = optimizers.make_optimizer("adam", 0.1, epsilon=1e8, max_grad_norm=1.0)
    params = jnp.array([0.0, 0.0])
    # An epsilon that dwarfs the root leaves Adam's first step proportional to the gradient.
    deltas, _ = optimizer.update(jnp.array([3.0, 4.0]), optimizer.init(params), params)
    np.testing.assert_allclose(deltas, [-0.6e-9, -0.8e-9], rtol=1e-4)


def test_gradients_are_clipped_tensor_by_tensor():
    optimizer = optimizers.make_optimizer(
        "adam", 0.1, epsilon=1e8, max_grad_norm=1.0, clip_per_tensor=True
    )
    params = {"large": jnp.zeros(2), "small": jnp.zeros(1), "none": jnp.zeros(1)}
    gradients = {"large": jnp.array([3.0, 4.0]), "small": jnp.array([0.5]), "none": jnp.zeros(1)}
    deltas, _ = optimizer.update(gradients, optimizer.init(params), params)
    np.testing.assert_allclose(deltas["large"], [-0.6e-9, -0.8e-9], rtol=1e-4)
    np.testing.assert_allclose(deltas["small"], [-0.5e-9], rtol=1e-4)
    np.testing.assert_array_equal(deltas["none"], 0)


def test_plain_rmsprop_begins_where_it_is_told():
    optimizer = optimizers.make_optimizer(
        "rmsprop",
        0.1,
        epsilon=1e-10,
        rmsprop_decay=0.9,
        rmsprop_centred=False,
        rmsprop_initial=1.0,
    )
    params = jnp.array([1.0])
    deltas, _ = optimizer.update(jnp.array([2.0]), optimizer.init(params), params)
    np.testing.assert_allclose(deltas, [-0.1 * 2.0 / np.sqrt(0.9 * 1.0 + 0.1 * 4.0)], rtol=1e-5)


def test_a_loss_is_scaled():
    config = presets.resolve("", "toptal_mountaincar_literal", {})
    nothing = jnp.zeros(1)
    loss, priority = parts.make_head(config).loss(nothing, None, 3.0, 0.0, nothing)
    np.testing.assert_allclose(loss, 3.0, rtol=1e-6)  # 9 / 3
    np.testing.assert_allclose(priority, 3.0, rtol=1e-6)


def test_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="sgd"):
        optimizers.make_optimizer("sgd", 0.1, epsilon=1e-8)


def test_one_device_and_eight_give_the_same_update(key):
    """Nature network, Adam, 16 transitions; sums are taken in another order, so within 1e-5."""
    results = [jax.device_get(updates.twice(mesh.make_mesh(count))) for count in (1, 8)]
    for one, eight in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(one, eight, atol=1e-5)


def test_eight_devices_hold_equal_parameters(key):
    """Replication is a promise of the update, not checked by the compiler."""
    params, *_ = updates.twice(mesh.make_mesh(8))
    for leaf in jax.tree.leaves(params):
        shards = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(shards) == 8
        for shard in shards[1:]:
            np.testing.assert_array_equal(shard, shards[0])


def nature(implementation):
    return networks.make_network(
        convolutions.chain(convolutions.NATURE),
        scalar.scalar(toy_networks.huber),
        lambda: implementation,
        num_actions=4,
        hidden_sizes=(512,),
    )


def test_the_nature_network_has_its_parameters(key):
    """1,686,180 at 84x84x4 with 4 actions, whichever way the convolutions are computed."""
    observation = jnp.zeros((1, 4, 84, 84), jnp.uint8)
    trees = [nature(how).init(key, observation) for how in ("native", "matmul", "xla")]
    assert sum(x.size for x in jax.tree.leaves(trees[0])) == 1_686_180
    for tree in trees[1:]:
        jax.tree.map(np.testing.assert_array_equal, trees[0], tree)


@pytest.mark.parametrize("implementation", ["native", "matmul"])
def test_all_convolutions_give_the_same_values(key, implementation):
    frames = updates.batch().observation[:8]
    params = nature("xla").init(key, frames[:1])
    plain, other = (nature(how).q_values(params, frames) for how in ("xla", implementation))
    np.testing.assert_allclose(plain, other, atol=1e-6)


@pytest.mark.parametrize("implementation", ["native", "matmul", "xla"])
def test_same_padding_is_that_of_plain_convolutions(key, implementation):
    """105x80 with strides 2, 2 and 1, as the network of motion traces has them."""
    sizes = ((16, 3, 2), (32, 3, 2), (64, 3, 1))
    layers = tuple(convolutions.Convolution(*layer) for layer in sizes)
    network = networks.make_network(
        convolutions.chain(layers, padding="same", scale_pixels=False),
        scalar.scalar(toy_networks.huber),
        lambda: implementation,
        num_actions=3,
        hidden_sizes=(),
    )
    frames = np.random.default_rng(0).integers(0, 256, (3, 1, 2, 105, 80), np.uint8)
    params = network.init(key, frames[:1])
    x = jnp.asarray(frames[:, 0], jnp.float32).transpose(0, 2, 3, 1)
    for i, layer in enumerate(layers):
        kernel = params["params"]["torso"][f"conv_{i}_kernel"]
        strides = (layer.stride, layer.stride)
        layout = ("NHWC", "HWIO", "NHWC")
        x = jax.nn.relu(
            jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=layout)
        )
    assert x.shape == (3, 27, 20, 64)
    expected = x.reshape(3, -1) @ params["params"]["Dense_0"]["kernel"]
    found = network.q_values(params, jnp.asarray(frames))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
