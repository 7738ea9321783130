"""Presets of published agents build networks that learn, and act by what they learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.agent import optimizers
from jaxdqn.algorithms import pqn
from jaxdqn.assembly import parts
from jaxdqn.envs import api
from jaxdqn.settings import presets, published, registries
from tests import updates

FRAME = (12, 12)
SPEC = api.EnvSpec("Breakout-v5", FRAME, np.dtype("uint8"), 4, 4)
UPDATES = 100


@pytest.mark.parametrize("name", published.AGENTS)
def test_its_values_approach_their_targets(name, key):
    """With its loss and its optimizer on one batch; at ends, targets are the rewards alone."""
    changes = {"network": "mlp", "hidden_sizes": (32,), "learning_rate": 1e-3}  # fast to compile
    changes |= {"num_quantiles": 8, "num_atoms": 11}
    config = presets.resolve("Breakout", name, {})
    changes = {
        setting: value for setting, value in changes.items() if not config.why_unread(setting)
    }
    config = presets.resolve("Breakout", name, changes)
    algorithm = registries.ALGORITHMS.load(config.algorithm)
    learner = algorithm.make_learner(config, SPEC, None)
    batch = updates.batch(FRAME)
    given, factor = batch.replace(discount=np.zeros_like(batch.discount)), None
    if not config.learns_by_updates:  # from returns that are known, with a rate for each update
        of_steps = (batch.observation, batch.action, batch.reward, np.ones(updates.SIZE, bool))
        given, factor = pqn.Targets(*of_steps), config.learning_rate
    update = jax.jit(lambda state, key: learner.update(state, given, key, None, factor)[:2])
    state = start = learner.init(key, jnp.asarray(batch.observation[:1]))
    network = parts.make_network(config, SPEC)

    def error(params):
        values = network.q_values(params, batch.observation)
        return np.mean((values[np.arange(updates.SIZE), batch.action] - batch.reward) ** 2)

    before = error(state.params)
    for number in range(UPDATES):
        state, metrics = update(state, jax.random.fold_in(key, number))
        assert metrics["accepted"] and metrics["loss"] > 0
    assert state.updates == UPDATES
    assert error(state.params) < 0.7 * before
    # Copied by steps, not by updates.
    jax.tree.map(np.testing.assert_array_equal, state.target_params, start.target_params)


def test_rmsprop_steps_as_with_the_papers_sum_over_the_batch():
    """Mnih et al. (2015) sum the gradients of 32 transitions, and have an epsilon of 0.01."""
    config = presets.resolve("Breakout", "nature_dqn", {})

    def steps(epsilon, gradients):
        optimizer = optimizers.make_optimizer(
            config.optimizer,
            config.learning_rate,
            epsilon=epsilon,
            rmsprop_decay=config.rmsprop_decay,
            rmsprop_centred=config.rmsprop_centred,
            rmsprop_initial=config.rmsprop_initial,
        )
        state, taken = optimizer.init(gradients[0]), []
        for gradient in gradients:
            step, state = optimizer.update(gradient, state)
            taken.append(step)
        return np.stack(taken)

    means = np.random.default_rng(0).normal(scale=1e-3, size=(5, 7)).astype(np.float32)
    np.testing.assert_allclose(
        steps(config.optimizer_epsilon, means),
        steps(0.01, config.batch_size * means),
        rtol=1e-5,
    )
