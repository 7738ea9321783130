"""Heads by numbers calculated by hand, and by rlax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from jaxdqn.agent import distributions, q_learning
from jaxdqn.agent.heads import api, c51, hl_gauss, iqn, qr
from jaxdqn.assembly import parts
from jaxdqn.envs import api as envs
from jaxdqn.replay import returns
from jaxdqn.settings import presets

ATOMS = np.array([0, 1, 2], np.float32)
QUARTERS = jnp.array([0.25, 0.5, 0.25])
BATCH, ACTIONS = 64, 5
CARTPOLE = envs.EnvSpec("CartPole-v1", (4,), np.dtype("float32"), 2, 1)


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
    ("r_t", "discount_t", "expected"),
    [
        (0.5, 0.5, [0.125, 0.75, 0.125]),
        (0.0, 1.0, [0.25, 0.5, 0.25]),  # returns that meet atoms keep their probability
        (0.3, 0.0, [0.7, 0.3, 0.0]),
        (5.0, 0.0, [0.0, 0.0, 1.0]),  # beyond the atoms
    ],
)
def test_c51_projects_by_hand(r_t, discount_t, expected):
    projected = c51.project(ATOMS, QUARTERS, jnp.float32(r_t), jnp.float32(discount_t))
    np.testing.assert_allclose(projected, expected, atol=1e-6)


def test_no_probability_is_lost_or_made():
    """Whatever the rewards, also where all returns meet atoms, and where 51 atoms round."""
    atoms = np.linspace(-10, 10, 51, dtype=np.float32)
    probabilities = jax.nn.softmax(drawn(BATCH, 51))
    rewards = jnp.concatenate([jnp.arange(-12, 13, 1.0), 6 * drawn(BATCH - 25)])
    for discount in (0.0, 0.5, 0.99, 1.0):
        projected = jax.vmap(c51.project, in_axes=(None, 0, 0, None))(
            atoms, probabilities, rewards, jnp.float32(discount)
        )
        np.testing.assert_allclose(projected.sum(axis=1), 1, atol=1e-5)
        mean = np.sum(np.asarray(projected) * atoms, axis=1)
        inside = np.abs(rewards) + 10 * discount <= 10
        expected = rewards + discount * np.sum(np.asarray(probabilities) * atoms, axis=1)
        np.testing.assert_allclose(mean[inside], expected[inside], atol=1e-4)


def transitions(num_numbers):
    numbers_tm1, numbers_t, chooser = (drawn(BATCH, ACTIONS, num_numbers, seed=i) for i in range(3))
    action = jnp.asarray(np.random.default_rng(3).integers(0, ACTIONS, BATCH), jnp.int32)
    reward = drawn(BATCH, seed=4)
    discount = jnp.where(jnp.arange(BATCH) % 5 == 0, 0.0, 0.97)
    return numbers_tm1, numbers_t, chooser, action, reward, discount


def losses_and_gradients(head, numbers_tm1, numbers_t, chooser, action, reward, discount):
    def mean(numbers):
        best = jnp.argmax(jax.vmap(head.values)(api.Outputs(chooser)), axis=-1)
        next_return = jax.vmap(head.next_return)(api.Outputs(numbers_t), best)
        taken = numbers[jnp.arange(BATCH), action]
        found, _ = jax.vmap(head.loss)(taken, None, reward, discount, next_return)
        return found.sum(), found

    (_, found), gradient = jax.value_and_grad(mean, has_aux=True)(numbers_tm1)
    return found, gradient


def assert_equals_rlax(found, loss_fn, numbers_tm1):
    def total(numbers):
        expected = loss_fn(numbers)
        return expected.sum(), expected

    (_, expected), gradient = jax.value_and_grad(total, has_aux=True)(numbers_tm1)
    np.testing.assert_allclose(found[0], expected, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], gradient, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("double_q", [True, False])
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of rlax
@jax.numpy_rank_promotion("allow")  # by rlax
def test_c51_agrees_with_rlax(double_q):
    atoms = np.linspace(-3, 3, 21, dtype=np.float32)
    tm1, t, online, action, reward, discount = transitions(21)
    chooser = online if double_q else t
    found = losses_and_gradients(c51.c51(atoms), tm1, t, chooser, action, reward, discount)
    values = jnp.asarray(np.sum(np.asarray(jax.nn.softmax(chooser)) * atoms, axis=-1))

    def expected(logits):
        return jax.vmap(
            lambda *of: rlax.categorical_double_q_learning(atoms, *of[:4], atoms, *of[4:])
        )(logits, action, reward, discount, t, values)

    assert_equals_rlax(found, expected, tm1)


def test_the_priority_of_a_distribution_falls_to_zero():
    """The cross-entropy of a spread target does not, however well it is predicted."""
    loss, priority = distributions.cross_entropy(jnp.log(QUARTERS), QUARTERS)
    assert loss > 1 and priority == pytest.approx(0, abs=1e-6)
    _, priority = distributions.cross_entropy(jnp.log(QUARTERS), jnp.array([0.0, 0.0, 1.0]))
    assert priority == pytest.approx(np.log(4), rel=1e-5)


def test_an_impossible_return_has_a_gradient():
    """Clamped probabilities would have none, and stay impossible."""
    logits = jnp.array([60.0, 0.0, -60.0])
    gradient = jax.grad(lambda x: distributions.cross_entropy(x, jnp.array([0.0, 0.0, 1.0]))[0])(
        logits
    )
    np.testing.assert_allclose(gradient, [1, 0, -1], atol=1e-5)  # softmax - target


def test_quantiles_by_hand():
    loss = qr.quantile_loss(jnp.array([0.0, 2]), jnp.array([0.25, 0.75]), jnp.array([1.0, 3]), 1.0)
    assert loss == pytest.approx(0.625)
    case = jnp.array([-1.0, 3]), jnp.array([0.2, 0.7]), jnp.array([-3.0, 4, 2])  # rlax's own
    assert qr.quantile_loss(*case, 0.0) == pytest.approx(2.0)
    assert qr.quantile_loss(*case, 2.0) == pytest.approx(2.5)


@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_quantile_errors_are_summed_alike_on_all_devices(kappa):
    """CPUs loop over the targets, here 11; accelerators take all errors at once."""
    random = np.random.default_rng(0)
    quantiles, target = (jnp.asarray(random.normal(size=n), jnp.float32) for n in (6, 11))
    target = target.at[3].set(quantiles[2])  # neither below nor above
    looped = qr.sums_one_by_one(quantiles, target, kappa)
    reduced = qr.sums_at_once(quantiles, target, kappa)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), looped, reduced)


@pytest.mark.parametrize("kappa", [0.0, 0.5, 1.0])
def test_qr_agrees_with_rlax(kappa):
    tm1, t, chooser, action, reward, discount = transitions(7)
    head = qr.quantile_head(7, kappa)
    found = losses_and_gradients(head, tm1, t, chooser, action, reward, discount)
    taus = jnp.asarray(qr.midpoints(7))

    def expected(quantiles):  # rlax has actions last
        one, two, three = (jnp.swapaxes(x, 1, 2) for x in (quantiles, t, chooser))
        return jax.vmap(
            lambda a, b, c, d, e, f: rlax.quantile_q_learning(a, taus, b, c, d, e, f, kappa)
        )(one, action, reward, discount, three, two)

    assert_equals_rlax(found, expected, tm1)


def test_quantiles_find_those_of_a_distribution():
    """By descent on samples; with fractions on the wrong side they would come in reverse order."""
    taus = jnp.asarray(qr.midpoints(5))
    samples = jnp.asarray(np.random.default_rng(0).exponential(size=2_000), jnp.float32)
    step = jax.jit(jax.grad(lambda q: qr.quantile_loss(q, taus, samples, 0.0)))
    found = jnp.zeros(5)
    for _ in range(400):
        found -= 0.2 * step(found)
    np.testing.assert_allclose(found, np.quantile(samples, taus), atol=0.06)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.5, [0.31699, 0.68301]), (0.0, [0.5, 0.5]), (9.0, None)]
)
def test_hl_gauss_by_hand(value, expected):
    edges = np.array([-1, 0, 1], np.float32)
    found = hl_gauss.histogram(edges, 0.75, jnp.float32(value))
    if expected is None:  # far outside: as at the edge
        expected = hl_gauss.histogram(edges, 0.75, jnp.float32(1))
        assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.sum(found) == pytest.approx(1)


@pytest.mark.parametrize(("value", "mean"), [(9.5, 9.467), (9.8, 9.657), (15.0, 9.729)])
def test_hl_gauss_is_too_small_at_its_edge(value, mean):
    edges = np.linspace(-10, 10, 52, dtype=np.float32)
    found = hl_gauss.histogram(edges, 0.75 * 20 / 51, jnp.float32(value))
    assert np.sum(found * (edges[1:] + edges[:-1]) / 2) == pytest.approx(mean, abs=2e-3)


def test_hl_gauss_learns_the_target():
    """Its loss is least where the prediction is the target's histogram, whose mean it is."""
    edges = np.linspace(-10, 10, 52, dtype=np.float32)
    head = hl_gauss.hl_gauss(edges, 0.75)
    for value in (-7.3, 0.0, 4.2):
        logits = jnp.log(hl_gauss.histogram(edges, 0.75 * 20 / 51, jnp.float32(value)) + 1e-20)
        outputs = api.Outputs(jnp.broadcast_to(logits, (2, 51)))
        assert head.values(outputs) == pytest.approx([value] * 2, abs=1e-3)
        reward, end = jnp.float32(value), jnp.float32(0)

        def loss(logits, outputs=outputs, reward=reward, end=end):
            return head.loss(logits, None, reward, end, head.next_return(outputs, 1))[0]

        np.testing.assert_allclose(jax.grad(loss)(logits), np.zeros(51), atol=1e-6)


def test_cosines_of_fractions():
    """From frequency 1 on; one set for each observation, from its key alone."""
    embedding = iqn.FractionEmbedding(num_quantiles=1, num_cosines=4)
    features = jnp.ones((2, 3))
    params = embedding.init(jax.random.key(0), features, None)
    kernel = params["params"]["cosines"]["kernel"]
    found, taus = embedding.apply(params, features, None)
    np.testing.assert_allclose(taus, [[0.5], [0.5]])
    expected = jax.nn.relu(jnp.array([0.0, -1, 0, 1]) @ kernel)
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-6)
    keys = jax.random.split(jax.random.key(1), 2)
    _, both = embedding.apply(params, features, keys)
    _, second = embedding.apply(params, features[1:], keys[1:])
    assert both[0] != both[1]
    np.testing.assert_array_equal(both[1:], second)


def make_iqn(**changes):
    changes = {"head": "iqn", "num_quantiles": 5, "hidden_sizes": (6, 7), **changes}
    config = presets.resolve("CartPole", "classic", changes)
    return config, parts.make_network(config, CARTPOLE)


@pytest.mark.parametrize("dueling", [False, True])
def test_a_network_of_iqn_by_hand(dueling):
    """Features, embedding and outputs, with loops over samples and fractions."""
    _, network = make_iqn(dueling=dueling)
    observation = drawn(3, 1, 4)
    params = network.init(jax.random.key(0), observation[:1])
    keys = jax.random.split(jax.random.key(1), 3)
    outputs = network.outputs(params, observation, keys)
    layers = jax.tree.map(np.asarray, params["params"])

    def dense(x, layer):
        return x @ layer["kernel"] + layer["bias"]

    def stream(x, name):
        return dense(np.maximum(dense(x, layers[f"{name}_0"]), 0), layers[f"{name}_1"])

    for b in range(3):
        features = np.maximum(dense(np.ravel(observation[b]), layers["features"]), 0)
        for t, fraction in enumerate(np.asarray(outputs.taus)[b]):
            cosines = np.cos(np.pi * fraction * np.arange(1, 65))
            x = features * np.maximum(dense(cosines, layers["head_embedding"]["cosines"]), 0)
            if dueling:
                advantage = stream(x, "advantage")
                expected = stream(x, "value") + advantage - advantage.mean()
            else:
                expected = stream(x, "Dense")
            np.testing.assert_allclose(outputs.raw[b, :, t], expected, rtol=1e-4, atol=1e-5)
    fixed = network.outputs(params, observation)
    np.testing.assert_allclose(fixed.taus, np.broadcast_to(qr.midpoints(5), (3, 5)))


def test_environments_draw_for_themselves_and_the_same_on_any_number_of_devices():
    config, network = make_iqn()
    actor = parts.make_actor(config, CARTPOLE, in_training=True)
    frame = jnp.broadcast_to(drawn(4), (4, 4))  # all see the same
    params = network.init(jax.random.key(0), frame[:1, None])
    first = jnp.ones(4, bool)
    state = actor.init(jax.random.key(1), 4)
    _, _, values = actor.act(params, state, frame, first, 0.0)
    assert len(np.unique(values[:, 0])) == 4
    for device in range(2):
        part = slice(2 * device, 2 * device + 2)
        state = actor.init(jax.random.key(1), 2)
        env_ids = jnp.arange(4)[part]
        _, _, found = actor.act(params, state, frame[part], first[part], 0.0, env_ids, 4)
        np.testing.assert_allclose(found, values[part], rtol=1e-6)
    evaluated = parts.make_actor(config, CARTPOLE)
    _, _, values = evaluated.act(params, evaluated.init(jax.random.key(1), 4), frame, first, 0.0)
    assert len(np.unique(values[:, 0])) == 1


@pytest.mark.parametrize("double_q", [True, False])
def test_the_choice_has_a_draw_of_its_own(double_q):
    """Three draws: for the prediction, the target and the choice."""
    calls = []

    def outputs(params, observation, keys):
        calls.append((int(params), jax.random.key_data(keys)))
        return api.Outputs(jnp.zeros((2, 3, 5)), jnp.full((2, 5), 0.5))

    network = parts.networks.Network(init=None, outputs=outputs, q_values=None, draws=True)
    head = qr.quantile_head(5, 1.0)
    bootstrap = q_learning.greedy(network, head, double_q=double_q)
    loss = q_learning.make_loss(network, head, bootstrap)
    batch = returns.Batch(
        observation=jnp.zeros((2, 1)),
        action=jnp.zeros(2, jnp.int32),
        reward=jnp.zeros(2),
        discount=jnp.ones(2),
        next_observation=jnp.zeros((2, 1)),
    )
    online, target = 0, 1
    loss(jnp.int32(online), jnp.int32(target), batch, jax.random.key(0))
    chooser = online if double_q else target
    assert [params for params, _ in calls] == [online, target, chooser]
    keys = np.concatenate([keys for _, keys in calls])
    assert len(np.unique(keys, axis=0)) == 6


@pytest.mark.parametrize(
    ("changes", "exact"), [({}, 1), ({"dueling": True}, 2), ({"noisy": True}, 2)]
)
def test_only_outputs_are_multiplied_as_exactly_as_can_be(changes, exact):
    """Products of float32 are less exact by default on accelerators. Noisy layers have two."""
    config = presets.resolve("CartPole", "classic", {"hidden_sizes": (16, 8), **changes})
    network = parts.make_network(config, CARTPOLE)
    like = jax.ShapeDtypeStruct((3, 1, 4), jnp.float32)
    params = jax.eval_shape(network.init, jax.random.key(0), like)
    keys = jax.random.split(jax.random.key(0), 3)
    text = jax.jit(network.q_values).lower(params, like, keys).as_text()
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    highest = [line for line in products if "precision = [HIGHEST, HIGHEST]" in line]
    assert len(highest) == exact < len(products)
