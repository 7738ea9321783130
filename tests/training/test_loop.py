"""The loop and evaluations against environments whose every number is known beforehand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.agent import actor
from jaxdqn.algorithms import dqn, run_state
from jaxdqn.assembly import device_programs
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.distributed import processes, signals, turn_notes
from jaxdqn.envs import api
from jaxdqn.playing import evaluation
from jaxdqn.replay import ring as ring_lib
from jaxdqn.settings import presets
from jaxdqn.training import env_groups, loop
from tests import toy_networks

SPEC = api.EnvSpec("Known-v0", (2,), np.dtype("float32"), 3, 1)


class KnownEnv:
    """Shows (environment, moment); pays the action it was sent; game e lasts `lengths[e]` steps."""

    def __init__(self, lengths, first_env=0):
        self.spec, self.num_envs, self.closed = SPEC, len(lengths), False
        self.sent, self.shown, self.resting = [], [], []
        self._lengths, self._first_env = np.asarray(lengths), first_env
        self._age = np.full(self.num_envs, -1)

    def send(self, actions):
        assert len(self.sent) == len(self.shown) - 1
        self.sent.append(np.array(actions))

    def receive(self):
        over = self._age == self._lengths
        self._age = np.where(over, 0, self._age + 1)
        is_first = self._age == 0
        paid = self.sent[-1] if self.sent else np.zeros(self.num_envs)
        envs, moment = np.arange(self.num_envs) + self._first_env, len(self.shown)
        false = np.zeros(self.num_envs, bool)
        step = api.TimeStep(
            frame=np.stack([envs, np.full(self.num_envs, moment)], 1).astype(np.float32),
            reward=np.where(is_first, 0, paid).astype(np.float32),
            terminated=self._age == self._lengths,
            truncated=false,
            is_first=is_first,
            life_lost=false,
        )
        self.shown.append(step)
        return step

    def rest(self, envs):
        self.resting.append(envs.tolist())

    def close(self):
        self.closed = True


def make_parts(key, **changes):
    """A run of four known environments in two groups: these, and the arguments of its loop."""
    changes |= {"num_envs": 4, "learning_starts_steps": 100, "replay_capacity": 400}
    config = presets.resolve("CartPole", "classic", {**changes, "batch_size": 16})
    mesh = mesh_lib.make_mesh(1)
    built = device_programs.build(config, SPEC, mesh)
    learning = dqn.ALGORITHM.build(config, SPEC, mesh)
    envs = [KnownEnv([3, 5]), KnownEnv([4, 7], first_env=2)]
    groups = [env_groups.Group(lambda step, share, env=env: env, 2) for env in envs]
    state = run_state.RunState(
        train_state=learning.init(key),
        sums=built.init_sums(),
        actors=[built.init_actor(jax.random.fold_in(key, g)) for g in range(2)],
        sampler=built.init_sampler(),
        learning_from_step=100,
    )
    stop = processes.Stop(signals.StopRequest())
    return envs, (config, built, mesh, groups, state, learning, stop)


def make_loop(key, **changes):
    """Such a run: its environments, its state, and its turns."""
    envs, parts = make_parts(key, **changes)
    return envs, parts[4], loop.turns(*parts)


@pytest.mark.parametrize("turns", [10, 11])
def test_environments_are_replaced_between_any_turns(key, turns):
    """The groups go on in their order, and no transition leads from one game to another."""
    envs, parts = make_parts(key)
    _, device, _, groups, state, *_ = parts
    for _ in itertools.islice(loop.turns(*parts), turns):
        pass
    loop.replace_environments(device, groups, state)
    assert all(env.closed for env in envs)
    for _ in itertools.islice(loop.turns(*parts), 4):
        pass
    ring = jax.device_get(state.ring)
    for r in range(turns + 4):
        np.testing.assert_array_equal(ring.frame[r], envs[r % 2].shown[r // 2].frame)
    cut = np.flatnonzero((ring.flags & ring_lib.CUT).any(axis=1))
    np.testing.assert_array_equal(cut, [turns - 2, turns - 1])


def test_the_replay_holds_the_actions_that_were_played(key):
    """Row by row: the frame shown, the action sent for it, and the reward that action earned."""
    groups, state, played = make_loop(key)
    turns = 120
    for _ in itertools.islice(played, turns):
        pass
    ring = jax.device_get(state.ring)
    actions = set()
    for r in range(turns):
        group, moment = groups[r % 2], r // 2
        np.testing.assert_array_equal(ring.frame[r], group.shown[moment].frame)
        np.testing.assert_array_equal(ring.reward[r], group.shown[moment].reward)
        np.testing.assert_array_equal(ring.action[r], group.sent[moment])
        ended = ring.flags[r] & ring_lib.TERMINATED != 0
        np.testing.assert_array_equal(ended, group.shown[moment].terminated)
        actions |= set(group.sent[moment].tolist())
    assert actions == {0, 1, 2}

    shown = [step for group in groups for step in group.shown[: turns // 2]]
    assert state.counters.steps == sum(np.count_nonzero(~step.is_first) for step in shown)
    assert state.counters.episodes == sum(np.count_nonzero(step.terminated) for step in shown)
    assert state.counters.updates == (state.counters.steps - 100) // 2
    assert state.counters.updates == state.train_state.updates > 0


def test_a_turn_moves_data_once_each_way(key, monkeypatch):
    """Time steps to the device, actions back; what is learned stays there."""
    _, state, played = make_loop(key)
    for _ in itertools.islice(played, 80):
        pass
    moved = []
    put = loop.turn_inputs.put

    def counted(*args):
        moved.append(put(*args))
        return moved[-1]

    def refuse(*_):
        raise AssertionError("moved by itself")

    monkeypatch.setattr(loop.turn_inputs, "put", counted)
    monkeypatch.setattr(jax, "device_put", refuse)
    monkeypatch.setattr(jax, "device_get", refuse)
    updates = state.counters.updates
    with jax.transfer_guard("disallow"):
        for _ in itertools.islice(played, 10):
            pass
    assert [type(inputs) for inputs in moved] == [np.ndarray] * 10
    assert state.counters.updates > updates > 0


@pytest.mark.parametrize("period", [0, 3])
def test_updates_are_queued_before_the_host_waits_for_actions(key, monkeypatch, period):
    """Unless they depend on the games that end, which are known with the actions."""
    envs, state, played = make_loop(key, target_period_episodes=period)
    for _ in itertools.islice(played, 80):
        pass
    done = []
    games = turn_notes.games
    for env in envs:
        monkeypatch.setattr(env, "send", lambda _, send=env.send: (done.append("send"), send(_)))
    monkeypatch.setattr(
        turn_notes, "games", lambda note: (done.append(state.counters.updates), games(note))[1]
    )
    for turn in range(10):
        begun = state.counters.updates
        next(played)
        seen, sent = done[2 * turn :]
        assert sent == "send"
        assert seen == (begun if period else state.counters.updates)
    assert len(set(done)) > 5  # there were updates


@pytest.mark.parametrize("seed", range(3))
def test_the_batch_of_a_refused_update_is_found_behind_later_ones(seed):
    """The host hears of it with the next actions, when more updates are queued."""
    _, state, played = make_loop(jax.random.key(seed))
    for _ in itertools.islice(played, 80):
        pass
    reward = state.ring.reward.at[70, 0].set(jnp.nan)
    state.ring = state.ring.replace(reward=reward)
    with pytest.raises(run_state.NonFiniteError) as caught:
        for _ in itertools.islice(played, 200):
            pass
    assert np.isnan(caught.value.batch.reward).sum() > 0


def preferring(action):
    network = toy_networks.network(
        lambda params, stack: jnp.tile(jax.nn.one_hot(action, 3)[None], (stack.shape[0], 1))
    )
    return evaluation.compiled(
        actor.make_actor(network, frame_shape=(2,), frame_dtype=jnp.dtype("float32"), frame_stack=1)
    )


def test_each_environment_plays_equally_many_games(key):
    """The first nine games to end would nearly all be the short ones."""
    env = KnownEnv([2, 30, 90])
    scores = evaluation.evaluate(preferring(2), None, env, num_episodes=9, epsilon=0.0, key=key)
    assert sorted(scores.lengths.tolist()) == [2] * 3 + [30] * 3 + [90] * 3
    np.testing.assert_array_equal(scores.returns, 2 * scores.lengths)  # action 2 pays 2 a step
    assert env.closed and env.resting[0] == [False] * 3
    for env_index, length in enumerate((2, 30, 90)):  # it rests when its three games are over
        played = 3 * (length + 1) - 1
        assert [row[env_index] for row in env.resting] == [
            moment >= played for moment in range(len(env.resting))
        ]


class KnownImages(KnownEnv):
    """The same, shown as images of one row."""

    def __init__(self, lengths):
        super().__init__(lengths)
        self.spec = SPEC._replace(frame_shape=(1, 2))

    def receive(self):
        step = super().receive()
        return step._replace(frame=step.frame[:, None])


def test_the_last_games_are_played_alike_when_few_are_left(key):
    """Actions depend on what an environment shows and on its own draws, however many there are."""
    network = toy_networks.network(
        lambda params, stack: jax.nn.one_hot(
            stack.reshape(len(stack), -1).sum(1).astype(int) % 3, 3
        )
    )
    found, sizes = [], []
    for env, shape in ((KnownEnv, (2,)), (KnownImages, (1, 2))):
        built = actor.make_actor(
            network, frame_shape=shape, frame_dtype=jnp.dtype("float32"), frame_stack=1
        )
        traced = []

        def act(*args, act=built.act, traced=traced):
            traced.append(args[2].shape[0])
            return act(*args)

        scores = evaluation.evaluate(
            evaluation.compiled(built._replace(act=act)),
            None,
            env([2] * 15 + [30, 40, 50, 60, 70]),
            num_episodes=20,
            epsilon=0.3,
            key=key,
        )
        found.append(scores)
        sizes.append(traced)
    assert sizes == [[20], [20, 8]]
    jax.tree.map(np.testing.assert_array_equal, *found)
    assert found[0].lengths.tolist() == [2] * 15 + [30, 40, 50, 60, 70]
    assert len(np.unique(found[0].returns)) > 5


def test_an_evaluation_can_be_cut_short(key):
    env, request = KnownEnv([50]), signals.StopRequest()
    receive = env.receive

    def receive_and_hear():
        if len(env.shown) == 5:
            request.signum = 15
        return receive()

    env.receive = receive_and_hear
    scores = evaluation.evaluate_together(
        preferring(0),
        None,
        lambda envs: env,
        num_episodes=1,
        epsilon=0.0,
        key=key,
        stop=processes.Stop(request),
    )
    assert scores is None and env.closed and len(env.shown) == 6


@pytest.mark.parametrize(
    ("games", "envs"),
    [(100, 50), (30, 30), (64, 64), (7, 7), (128, 64), (127, 64), (66, 33), (65, 64)],
)
def test_environments_of_an_evaluation_share_its_games(games, envs):
    assert evaluation.num_envs_for(games) == envs


def test_environments_that_play_one_game_more_are_chosen_beforehand(key):
    """Not those whose games are short."""
    env = KnownEnv([90, 2, 30])
    scores = evaluation.evaluate(preferring(2), None, env, num_episodes=7, epsilon=0.0, key=key)
    assert scores.lengths.tolist() == [90, 90, 90, 2, 2, 30, 30]
    np.testing.assert_array_equal(scores.returns, 2 * scores.lengths)


def test_environments_without_a_game_to_play_rest(key):
    env = KnownEnv([30, 2, 90])
    scores = evaluation.evaluate(preferring(2), None, env, num_episodes=2, epsilon=0.0, key=key)
    assert scores.lengths.tolist() == [30, 2] and env.resting[0] == [False, False, True]


def test_games_are_shared_nearly_equally():
    for games in (*range(1, 300), 1_009, 100_003):
        shares = evaluation.quotas(games, evaluation.num_envs_for(games))
        assert shares.sum() == games and 0 <= shares.max() - shares.min() <= 1
        assert len(shares) >= min(32, games)
