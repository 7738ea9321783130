"""What the five tutorial systems are made of, and that none of their faults is ours.

`docs/tutorials.md` lists each fault with the test that the faulty way fails.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdqn.agent import actor, networks
from jaxdqn.agent.encoders import flat
from jaxdqn.agent.heads import scalar
from jaxdqn.algorithms import replayed, run_state
from jaxdqn.assembly import env_spec, memory, parts, schedules
from jaxdqn.envs import api, episodes, registry
from jaxdqn.playing import held_out_values
from jaxdqn.replay import returns
from jaxdqn.replay import ring as ring_lib
from jaxdqn.settings import presets, tutorials
from tests import program, rings, toy_networks


def parameters(config):
    """The shapes of a run's parameters."""
    network = parts.make_network(config, env_spec.describe(config))
    like = parts.observation_like(config, env_spec.describe(config))
    return jax.eval_shape(network.init, jax.random.key(0), like)


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("rubikscode_breakout", 1_686_180),
        ("hvass_breakout", 38_566_804),
        ("hvass_breakout_literal", 38_566_804),
        ("opensourc_cartpole", 67_586),
        ("opensourc_cartpole_literal", 4 * 5 + 5 + 5 * 5 + 5 + 5 * 2 + 2),
        ("toptal_mountaincar", 2 * 128 + 128 + 128 * 128 + 128 + 128 * 3 + 3),
        ("toptal_mountaincar_literal", 2 * 32 + 32 + 32 * 32 + 32 + 32 * 3 + 3),
        ("adventures_spaceinvaders", 1_456_439),
        ("adventures_spaceinvaders_literal", 1_456_439),
    ],
)
def test_parameter_counts(preset, count):
    config = presets.resolve("", preset, {})
    assert memory.num_parameters(config, env_spec.describe(config)) == count
    assert sum(leaf.size for leaf in jax.tree.leaves(parameters(config))) == count


@pytest.mark.parametrize("name", tutorials.TUTORIALS)
def test_a_preset_picks_its_game(name):
    config = presets.resolve("", name, {})
    assert config.env.startswith(tutorials.TUTORIALS[name].env)
    other = "Pong" if "frame_skip" in config.env_options else "Acrobot"
    spec = env_spec.describe(presets.resolve(other, name, {}))
    assert spec.env_id.startswith(other) and spec.num_actions in (3, 6)


def test_the_presets_are_listed():
    result = program.train("--list_presets")
    assert result.returncode == 0 and result.stderr == ""
    for name, tutorial in tutorials.TUTORIALS.items():
        assert f"{name} ({tutorial.env})\n" in result.stdout


# A. Convolutional DQN on Breakout.


@pytest.mark.parametrize("preset", ["rubikscode_breakout", "hvass_breakout"])
def test_the_network_takes_the_frames_that_are_played(preset):
    """It was built for the raw picture and fed the processed one."""
    config = presets.resolve("", preset, {"held_out_observations": 20, "hidden_sizes": (8,)})
    spec = env_spec.describe(config)
    observations = held_out_values.observe(config, spec)
    assert observations.shape[1:] == parts.observation_like(config, spec).shape[1:]
    assert len(observations) == 20 and observations.dtype == np.uint8
    network = parts.make_network(config, spec)
    params = network.init(jax.random.key(0), observations[:1])
    assert network.q_values(params, jnp.asarray(observations)).shape == (20, 4)
    np.testing.assert_array_equal(observations, held_out_values.observe(config, spec))


def test_a_target_is_that_of_its_own_action(key):
    """It was written to the row of the batch that the action's number names."""
    learner = toy_networks.learner(
        toy_networks.linear(jnp.zeros((3, 3))),
        optax.sgd(1.0),
        double_q=False,
        td_loss=lambda td_error: td_error**2,
        target_tau=1.0,
        target_period_updates=1,
    )
    batch = returns.Batch(
        observation=jnp.eye(3),
        action=jnp.array([2, 2, 0]),
        reward=jnp.array([3.0, 6.0, 9.0]),
        discount=jnp.zeros(3),
        next_observation=jnp.eye(3),
    )
    state, _ = learner.update(learner.init(key, jnp.zeros((1, 3))), batch)
    # A step of 1 along the gradient of the mean of squares: two thirds of each error.
    np.testing.assert_allclose(state.params, [[0, 0, 2], [0, 0, 4], [6, 0, 0]], rtol=1e-6)


def test_epsilon_decays_without_a_jump():
    """One tutorial's never did, another's jumped when learning began."""
    for name in tutorials.TUTORIALS:
        config = presets.resolve("", name, {})
        steps = range(0, config.total_steps + 1, max(1, config.total_steps // 1000))
        values = np.array([schedules.epsilon(config, step) for step in steps])
        assert values[0] == config.epsilon_start
        assert (np.diff(values) <= 0).all()
        decay = config.epsilon_start - config.epsilon_end
        assert (
            np.abs(np.diff(values)).max() <= decay * steps.step / config.epsilon_decay_steps + 1e-9
        )
        if "literal" not in name:
            assert values[-1] < 0.2


def games(length, how):
    """Rows of one environment whose games last `length` steps and end by `how`."""
    false = np.zeros(1, bool)
    for number in itertools.count():
        at = number % (length + 1)
        row = ring_lib.blank_row(1, (1,), np.float32)
        yield row.replace(
            frame=np.full((1, 1), number, np.float32),
            reward=np.full(1, at > 0, np.float32),
            is_first=np.full(1, at == 0),
            **{name: np.full(1, at == length) if name == how else false for name in HOW},
        )


HOW = ("terminated", "truncated")


def filled(length, how, rows, num_rows=24, **settings):
    """A ring after so many of these rows."""
    ring = rings.make_ring(
        num_rows=num_rows,
        frame_shape=(1,),
        frame_dtype=jnp.dtype("float32"),
        frame_stack=1,
        stride=1,
        n_step=1,
        discount=0.9,
        **settings,
    )
    state, add = ring.init(1), jax.jit(ring.add)
    for row in itertools.islice(games(length, how), rows):
        state = add(state, row, jnp.zeros(1, jnp.int32))
    return ring, state


def test_the_last_step_of_a_game_is_learned_from(key):
    """It was left out. A fifth of the steps of games of five are the last."""
    ring, state = filled(5, "terminated", 24)
    batch = ring.sample(state, key, 2000)
    assert 0.15 < np.mean(batch.discount == 0) < 0.25


def test_every_step_is_drawn_after_the_memory_has_wrapped(key):
    """Only a few rows were. Of 24 rows 23 have a successor, of which one in six is a last one."""
    ring, state = filled(5, "terminated", 100)
    batch = ring.sample(state, key, 2000)
    shown = np.unique(batch.observation[:, 0, 0])
    expected = [n for n in range(76, 99) if n % 6 != 5]
    np.testing.assert_array_equal(shown, expected)
    np.testing.assert_array_equal(batch.next_observation, batch.observation + 1)


def test_failures_are_drawn_twice_as_often_where_that_is_asked_for(key):
    """Of 19 steps in the memory four fail: 4/19 of the draws, or 8/23."""
    for repeats, share in ((1, 4 / 19), (2, 8 / 23)):
        ring, state = filled(4, "terminated", 24, terminal_repeats=repeats)
        batch = ring.sample(state, key, 4000)
        assert np.mean(batch.discount == 0) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(
    ("how", "time_limit_ends", "reward", "discount"),
    [
        ("terminated", False, -50, 0),
        ("truncated", False, 1, 0.9),  # to reach the limit is no failure, and more would follow
        ("truncated", True, -50, 0),  # the faulty way, for study
    ],
)
def test_a_time_limit_is_no_failure(key, how, time_limit_ends, reward, discount):
    ring, state = filled(5, how, 20, terminal_reward=-50.0, time_limit_ends=time_limit_ends)
    batch = ring.gather(state, jnp.array([4, 3]), jnp.array([0, 0]))
    np.testing.assert_allclose(batch.reward, [reward, 1])
    np.testing.assert_allclose(batch.discount, [discount, 0.9])


@pytest.mark.parametrize("how", HOW)
def test_the_target_is_copied_after_every_game_however_it_ends(how):
    """It was not where the cap on steps ended one."""
    config = presets.resolve("", "rubikscode_breakout_literal", {})
    tracker, now, copies = episodes.EpisodeTracker(1), run_state.Counters(), 0
    for row in itertools.islice(games(5, how), 24):
        before = run_state.Counters(now.steps, now.updates, now.episodes)
        now.episodes += len(tracker.add(api.TimeStep(**vars(row))))
        copies += replayed.target_is_due(config, before, now)
    assert copies == now.episodes == 4


@pytest.mark.parametrize("preset", ["rubikscode_breakout_literal", "toptal_mountaincar_literal"])
def test_learning_moves_the_target_by_games_and_by_steps(preset):
    """One such preset copies after every game, the other every 1,000 steps."""
    moves = []
    programs = replayed.Programs(
        init=None,
        learn=lambda train_state, sums, sampler, ring: (train_state, sums, sampler, None),
        examine=None,
        move_target=lambda train_state: moves.append(train_state) or train_state,
    )
    config = presets.resolve("", preset, {})
    learn = replayed.learning(config, programs).learn
    state = run_state.RunState("state", None, [], counters=run_state.Counters(999, 0, 7))
    before, after = [], []
    for steps, games_over in ((999, 7), (1000, 7), (1001, 8), (1002, 8)):
        then = run_state.Counters(state.counters.steps, 0, state.counters.episodes)
        state.counters.steps, state.counters.episodes = steps, games_over
        before.append(len(moves))
        list(learn(state, then))
        after.append(len(moves))
    moved = [b > a for a, b in zip(before, after, strict=True)]
    by_games, by_steps = [False, False, True, False], [False, True, False, False]
    assert moved == (by_games if config.target_period_episodes else by_steps)


def test_the_target_is_copied_by_steps_that_are_crossed():
    config = presets.resolve("", "toptal_mountaincar_literal", {})
    due = [
        replayed.target_is_due(
            config, run_state.Counters(steps=then), run_state.Counters(steps=then + 8)
        )
        for then in (984, 992, 1000, 1992, 1996)
    ]
    assert due == [False, True, False, True, True]


def test_four_frames_show_where_the_ball_goes():
    """One does not: of two games that come to the same picture, stacks differ."""
    up, down = np.arange(4), np.arange(4)[::-1] + 3
    assert up[-1] == down[-1]
    config = presets.resolve("", "rubikscode_breakout", {})
    assert config.frame_stack == 4
    played = actor.make_actor(
        toy_networks.network(lambda _, seen: seen.reshape(1, -1)),
        frame_shape=(1,),
        frame_dtype=jnp.dtype("uint8"),
        frame_stack=config.frame_stack,
    )
    stacks = []
    for places in (up, down):
        state = played.init(jax.random.key(0), 1)
        for number, place in enumerate(places):
            frame = jnp.full((1, 1), place, jnp.uint8)
            state = played.see(state, frame, jnp.array([number == 0]))
        stacks.append(np.asarray(state.stack))
    np.testing.assert_array_equal(stacks[0][:, -1], stacks[1][:, -1])
    assert not np.array_equal(*stacks)


# C and D. CartPole and MountainCar.


def test_a_reported_return_is_the_games_own(tmp_path):
    """What is learned from at a failure, -50, does not enter it: CartPole pays 1 a step."""
    flags = (f"--run_dir={tmp_path / 'run'}", "--total_steps=600", "--eval_episodes=2")
    result = program.train("--preset=opensourc_cartpole_literal", *flags)
    assert result.returncode == 0, result.stderr
    training, evaluations = program.rows(tmp_path / "run")
    for row in training:
        assert row["episode_return_mean"] == row["episode_length_mean"] > 8
    assert all(row["eval_return_mean"] >= 8 for row in evaluations)  # the pole stands so long


def test_a_mean_return_is_over_games_that_ended():
    """It was divided by games begun."""
    recent = episodes.RecentGames()
    tracker = episodes.EpisodeTracker(1)
    for row in itertools.islice(games(5, "truncated"), 15):  # two whole games, one begun
        for game in tracker.add(api.TimeStep(**vars(row))):
            recent.add(game.game_return, game.length)
    assert recent.means() == (5.0, 5.0)


def test_evaluations_do_not_touch_the_games_of_training(tmp_path):
    """They shared the environment: a run without them plays the same games."""
    rows = []
    for number, period in enumerate((0, 150)):
        flags = (
            "--env=CartPole",
            "--preset=classic",
            f"--run_dir={tmp_path / str(number)}",
            *program.SMALL,
        )
        result = program.train(*flags, f"--eval_every_steps={period}")
        assert result.returncode == 0, result.stderr
        training, evaluations = program.rows(tmp_path / str(number))
        rows.append([(row["episode_return_mean"], row["loss"]) for row in training])
        assert len(evaluations) == (1, 6)[number]
    assert rows[0] == rows[1]


# E. Dueling double DQN on Space Invaders.


def dueling(key, num_actions=3):
    network = networks.make_network(
        flat.flat(),
        scalar.scalar(toy_networks.huber),
        lambda: "xla",
        num_actions=num_actions,
        hidden_sizes=(5,),
        dueling=True,
    )
    return network, network.init(key, jnp.zeros((1, 1, 4)))


def test_advantages_have_a_mean_of_zero_for_each_sample(key):
    """The mean ran over the batch too."""
    network, params = dueling(key)
    seen = jax.random.normal(key, (6, 1, 4))
    hidden = {
        name: jax.nn.relu(seen[:, 0] @ params["params"][f"{name}_0"]["kernel"])
        for name in ("value", "advantage")
    }
    value = hidden["value"] @ params["params"]["value_1"]["kernel"]
    advantage = hidden["advantage"] @ params["params"]["advantage_1"]["kernel"]
    q_values = network.q_values(params, seen)
    np.testing.assert_allclose((q_values - value).mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(
        q_values - value, advantage - advantage.mean(axis=1, keepdims=True), atol=1e-6
    )


def test_a_sample_does_not_depend_on_its_batch(key):
    network, params = dueling(key)
    seen = jax.random.normal(key, (6, 1, 4))
    alone = jnp.concatenate([network.q_values(params, one[None]) for one in seen])
    np.testing.assert_allclose(network.q_values(params, seen), alone, atol=1e-6)


def test_the_target_begins_as_a_copy_and_moves_by_exactly_its_share(key):
    """The first copy did nothing."""
    config = presets.resolve("", "adventures_spaceinvaders_literal", {})
    learner = toy_networks.learner(
        toy_networks.linear(jnp.array([[1.0, -2.0]])),
        optax.sgd(0.5),
        target_tau=config.target_tau,
        target_period_updates=config.target_period_updates,
    )
    state = learner.init(key, jnp.zeros((1, 1)))
    before = np.asarray(state.params)
    np.testing.assert_array_equal(state.target_params, before)
    batch = returns.Batch(*(jnp.ones((1, 1)), jnp.zeros(1, int), jnp.full(1, 9.0)), 0, 0)
    batch = batch.replace(discount=jnp.zeros(1), next_observation=jnp.ones((1, 1)))
    state, _ = learner.update(state, batch)
    np.testing.assert_allclose(state.params, [[1.5, -2.0]])
    np.testing.assert_allclose(state.target_params, 0.08 * state.params + 0.92 * before, rtol=1e-6)


def test_no_loss_is_told_before_there_is_one(tmp_path):
    """A loss of -1 entered its mean."""
    flags = ("--env=CartPole", "--preset=classic", f"--run_dir={tmp_path / 'run'}", *program.SMALL)
    assert program.train(*flags).returncode == 0
    training, _ = program.rows(tmp_path / "run")
    assert [row["loss"] for row in training if row["step"] < 200] == [None]
    assert all(row["loss"] > 0 for row in training if row["step"] > 210)
    assert all(np.isfinite(row["avg_max_q_value"]) for row in training)


@pytest.mark.parametrize("preset", [n for n, t in tutorials.TUTORIALS.items() if t.base == "atari"])
def test_frames_are_stored_as_bytes(preset):
    """They were float32: four times the memory."""
    config = presets.resolve("", preset, {})
    spec = env_spec.describe(config)
    assert spec.frame_dtype == np.uint8
    ring = jax.eval_shape(lambda: ring_lib.init(parts.ring_layout(config, spec), config.group_size))
    assert ring.frame.dtype == jnp.uint8
    assert ring.frame.size == config.replay_capacity * np.prod(parts.seen_shape(config, spec))


def test_a_tutorials_environment_is_real():
    """105 x 80 as they have it: EnvPool resizes to any size."""
    config = presets.resolve("", "adventures_spaceinvaders", {})
    env = registry.make(config.env, 2, 0, config.env_options)
    step = env.receive()
    env.close()
    assert step.frame.shape == (2, 105, 80) and step.frame.std() > 0
