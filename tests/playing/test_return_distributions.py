"""What an agent expects, as numbers, as pictures and as metrics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.assembly import parts
from jaxdqn.distributed import mesh
from jaxdqn.playing import drawing, held_out_values, inspection, return_distributions, style
from jaxdqn.playing import moments as moments_lib
from tests import saved

HEADS = {
    "c51": {"num_atoms": 11, "value_min": -1.0, "value_max": 1.0},
    "hl_gauss": {"num_atoms": 11, "value_min": -1.0, "value_max": 1.0},
    "qr": {"num_quantiles": 9},
    "iqn": {"num_quantiles": 9},
}


def agent_of(head, **changes):
    return saved.make_agent("Catch", {"head": head, **HEADS.get(head, {}), **changes})


def moments(agent):
    game = moments_lib.play(
        agent.config, agent.spec, agent.params, seed=0, num_episodes=1, with_screen=True
    )
    return list(game)


@pytest.mark.parametrize("head", HEADS)
def test_the_mean_of_what_is_expected_is_the_action_value(head):
    agent = agent_of(head)
    expect = return_distributions.of_agent(agent.config, agent.spec, agent.params)
    for moment in moments(agent):
        returns = expect(moment.stack)
        np.testing.assert_allclose(returns.probabilities.sum(axis=1), 1, rtol=1e-5)
        means = np.sum(returns.values * returns.probabilities, axis=1)
        np.testing.assert_allclose(means, moment.q_values, rtol=1e-4, atol=1e-5)


def test_a_plain_head_expects_its_mean_alone():
    agent = agent_of("scalar")
    assert return_distributions.of_agent(agent.config, agent.spec, agent.params) is None
    names, moment = agent.spec.actions, moments(agent)[0]
    assert drawing.overlay(moment, names).width + return_distributions.WIDTH == (
        drawing.overlay(moment, names, EVEN).width
    )


EVEN = return_distributions.Returns(
    np.broadcast_to(np.array([0.0, 1, 2, 3]), (3, 4)),
    np.array([[0.5, 0.5, 0, 0], [0, 0.25, 0.75, 0], [1, 0, 0, 0]]),
)


def test_histograms_have_a_bin_for_each_atom():
    shares, low, high = return_distributions.densities(EVEN)
    assert (low, high) == (-0.5, 2.5)  # nobody expects 3
    np.testing.assert_allclose(shares, EVEN.probabilities[:, :3])


def test_histograms_of_quantiles():
    values = np.stack([np.random.default_rng(i).normal(i, 1, 500) for i in range(2)])
    returns = return_distributions.Returns(values, np.full(values.shape, 1 / 500))
    shares, low, high = return_distributions.densities(returns)
    assert low < -1.5 and high > 2.5
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=0.02)
    centres = np.linspace(low, high, shares.shape[1] + 1)[:-1] + (high - low) / 128
    np.testing.assert_allclose(shares @ centres, [0, 1], atol=0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30])
def test_panels_of_any_numbers(value):
    values = np.full((3, 4), value, np.float32)
    for probabilities in (np.full((3, 4), 0.25), np.full((3, 4), np.nan)):
        returns = return_distributions.Returns(values, probabilities)
        q_values = values.mean(axis=1)
        picture = return_distributions.panel(returns, q_values, 0, ["a", "b", "c"], 200)
        assert picture.size == (return_distributions.WIDTH, 200)


def test_the_action_taken_is_coloured_and_others_are_not():
    pictures = [
        np.asarray(return_distributions.panel(EVEN, np.zeros(3), action, ["a", "b", "c"], 300))
        for action in (0, 1)
    ]
    taken = [
        np.flatnonzero((picture == style.TAKEN).all(axis=2).any(axis=1)) for picture in pictures
    ]
    assert taken[0].size and taken[1].size and taken[0].max() < taken[1].min() + 20


@pytest.mark.parametrize("value", [None, np.nan])
def test_states_of_note_show_what_is_expected(tmp_path, value):
    agent = agent_of("c51")
    if value is not None:
        agent = agent._replace(params=jax.tree.map(lambda x: jnp.full_like(x, value), agent.params))
    assert "states.png" in inspection.inspect(agent, tmp_path / "out", seed=0)


@pytest.mark.parametrize("head", ["scalar", *HEADS])
def test_metrics_of_what_is_expected(head):
    agent = agent_of(head, held_out_observations=40)  # one pass of the network, and a rest
    config = agent.config
    found = held_out_values.measure(config, agent.spec, mesh.make_mesh(1), lambda env: env)(
        agent.params
    )
    names = ["avg_max_q_value"]
    names += ["return_std"] * (head != "scalar") + ["return_entropy"] * (
        head in ("c51", "hl_gauss")
    )
    assert list(found) == names
    values, spreads, entropies = [], [], []
    made, network = parts.make_head(config), parts.make_network(config, agent.spec)
    for seen in held_out_values.observe(config, agent.spec):
        outputs = jax.tree.map(lambda x: x[0], network.outputs(agent.params, seen[None]))
        q_values = made.values(outputs)
        values.append(q_values.max())
        if made.distribution:
            returns, shares = (np.asarray(x)[q_values.argmax()] for x in made.distribution(outputs))
            spreads.append(np.sqrt(np.sum(shares * (returns - np.sum(shares * returns)) ** 2)))
            entropies.append(-np.sum(shares * np.log(shares)))
    for name, expected in zip(names, (values, spreads, entropies), strict=False):
        assert found[name] == pytest.approx(np.mean(expected), rel=1e-3, abs=1e-5)


def test_an_environment_that_fails_leaves_metrics_out():
    agent, said = agent_of("scalar"), []

    def fails(env):
        env.close()
        raise errors.EnvFailedError("it failed")

    measured = held_out_values.measure(
        agent.config, agent.spec, mesh.make_mesh(1), fails, said.append
    )
    for _ in range(2):
        assert measured(agent.params) == {"avg_max_q_value": None}
    assert said == ["WARNING: no held-out observations: it failed"]
