import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.agent import actor
from jaxdqn.agent.explorers import epsilon_greedy, lasting
from jaxdqn.assembly import device_programs, env_spec, parts, schedules
from jaxdqn.distributed import mesh
from jaxdqn.settings import presets
from tests import toy_networks


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 1.0), (100, 1.0), (150, 0.55), (200, 0.1), (10**9, 0.1)]
)
def test_linear_schedule(step, expected):
    epsilon = schedules.linear(step, start=1.0, end=0.1, begin_step=100, decay_steps=100)
    assert epsilon == pytest.approx(expected)


def test_no_decay_ends_at_once():
    assert schedules.linear(101, start=1, end=0.1, begin_step=100, decay_steps=0) == 0.1


def test_share_of_random_actions(key):
    keys = jax.random.split(key, 20_000)
    act = jax.vmap(epsilon_greedy.epsilon_greedy, in_axes=(0, None, None))
    actions = act(keys, jnp.array([0.0, 1.0, 0.0, 0.0]), jnp.float32(0.4))
    # 0.6 greedy and a quarter of 0.4 by chance; standard error 0.0032
    assert np.mean(np.asarray(actions) == 1) == pytest.approx(0.7, abs=0.015)
    counts = np.bincount(np.asarray(actions), minlength=4)
    np.testing.assert_allclose(counts[[0, 2, 3]] / 20_000, 0.1, atol=0.01)


def play(num_envs, steps, epsilon, key):
    """Actions [steps, E] of an actor whose Q-values prefer action 2 everywhere."""
    built = actor.make_actor(
        toy_networks.network(
            lambda params, stack: jnp.tile(jnp.array([[0.0, 0.0, 1.0, 0.0]]), (stack.shape[0], 1))
        ),
        frame_shape=(3,),
        frame_dtype=jnp.dtype("float32"),
        frame_stack=2,
    )
    state, act, rows = built.init(key, num_envs), jax.jit(built.act), []
    for _ in range(steps):
        frame, is_first = jnp.zeros((num_envs, 3)), jnp.zeros(num_envs, bool)
        state, actions, _ = act(None, state, frame, is_first, jnp.float32(epsilon))
        rows.append(np.asarray(actions))
    return np.stack(rows)


def test_exploration_is_drawn_for_each_environment(key):
    explored = play(num_envs=8, steps=400, epsilon=0.5, key=key) != 2
    assert np.all(explored.mean(axis=0) == pytest.approx(0.375, abs=0.12))
    # Drawn once for the batch, all columns would be equal; independent ones hardly correlate.
    correlation = np.corrcoef(explored.T.astype(float))
    assert np.abs(correlation[~np.eye(8, dtype=bool)]).max() < 0.3


def test_greedy_never_explores(key):
    assert np.all(play(num_envs=4, steps=50, epsilon=0.0, key=key) == 2)


def test_roll_stack():
    stack = jnp.array([[1], [2], [3]])
    np.testing.assert_array_equal(
        actor.roll_stack(stack, jnp.array([4]), jnp.bool_(False)), [[2], [3], [4]]
    )
    np.testing.assert_array_equal(
        actor.roll_stack(stack, jnp.array([4]), jnp.bool_(True)), [[4], [4], [4]]
    )


def test_how_long_random_actions_last(key):
    """k steps or more with probability 1/k, up to the most."""
    keys = jax.random.split(key, 20_000)
    act = jax.vmap(lasting.lasting(8).act, in_axes=(0, None, None, None, None))
    first = jnp.asarray(True)
    begun = act(keys, jnp.zeros(3), jnp.float32(1.0), lasting.no_repeat(), first)[1]
    lengths = np.asarray(begun.left) + 1
    for k in range(1, 9):
        assert np.mean(lengths >= k) == pytest.approx(1 / k, abs=0.015)
    assert lengths.max() == 8


def test_a_lasting_action_goes_on_until_it_is_over_or_a_game_begins(key):
    q_values, under_way = jnp.array([0.0, 1.0, 0.0]), lasting.Repeat(jnp.int32(2), jnp.int32(3))

    def act(repeat, is_first=False):
        epsilon, first = jnp.float32(0.0), jnp.asarray(is_first)
        return lasting.lasting(8).act(key, q_values, epsilon, repeat, first)

    played, repeat = [], under_way
    for _ in range(5):
        action, repeat = act(repeat)
        played.append(int(action))
    assert played == [2, 2, 2, 1, 1]
    action, repeat = act(under_way, is_first=True)
    assert action == 1 and repeat.left == 0


def test_lasting_actions_are_drawn_for_each_environment(key):
    built = actor.make_actor(
        toy_networks.network(lambda _, stack: jnp.zeros((len(stack), 4))),
        frame_shape=(3,),
        frame_dtype=jnp.dtype("float32"),
        frame_stack=1,
        explorer=lasting.lasting(64),
    )
    state, act, rows = built.init(key, 6), jax.jit(built.act), []
    for _ in range(300):
        seen = jnp.zeros((6, 3)), jnp.zeros(6, bool)
        state, actions, _ = act(None, state, *seen, jnp.float32(1.0))
        rows.append(np.asarray(actions))
    repeats = np.mean(np.diff(rows, axis=0) == 0)
    assert 0.6 < repeats < 0.95  # single random actions: 0.25
    assert len({tuple(column) for column in np.transpose(rows)}) == 6


def test_random_actions_last_in_training_alone():
    """What plays at random, or nearly greedily, to be compared with others plays as they do."""
    config = presets.resolve("", "toptal_mountaincar", {})
    spec = env_spec.describe(config)
    played = parts.make_actor(config, spec).init(jax.random.key(0), 2)
    trained = device_programs.build(config, spec, mesh.make_mesh(1)).init_actor(jax.random.key(0))
    assert config.explore_max_steps > 1
    assert played.explorer is None and trained.explorer is not None
