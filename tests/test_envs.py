import collections
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.envs import envpool, frame_skip, games
from jaxdqn.replay import ring as ring_lib
from jaxdqn.runtime import episodes

OPTIONS = {"max_episode_steps": 180, "repeat_action_probability": 0.0}


def play(env, steps, seed=0):
    """Yields (time step, the actions that follow it) of random play."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        step = env.receive()
        actions = rng.integers(0, env.spec.num_actions, env.num_envs)
        env.send(actions)
        yield step, actions
    env.close()


def test_rebuilt_stacks_equal_envpools_own():
    """Byte for byte over 2,000 steps of 8 games: ends, lost lives, time limits, many wraps."""
    num_envs, num_rows, steps = 8, 64, 2_000
    pool = importlib.import_module("envpool").make_gymnasium(
        "Breakout-v5", num_envs=num_envs, seed=7, stack_num=4, **OPTIONS
    )
    ring = ring_lib.make_ring(
        num_rows=num_rows,
        frame_shape=(84, 84),
        frame_dtype=jnp.dtype("uint8"),
        frame_stack=4,
        stride=1,
        n_step=1,
        discount=0.99,
        reward_clip=1.0,
        life_loss_ends=True,
    )
    state, add, gather = ring.init(num_envs), jax.jit(ring.add, donate_argnums=0), ring.gather
    gather = jax.jit(gather)
    stacks, seen = {}, {"terminated": 0, "truncated": 0, "life_lost": 0}
    stack, _ = pool.reset()
    compared = 0
    env = envpool.EnvPoolEnv("Breakout-v5", num_envs, 7, OPTIONS)
    for t, (step, actions) in enumerate(play(env, steps)):
        stacks[t] = stack
        stacks.pop(t - num_rows, None)
        state = add(state, ring_lib.Row(**step._asdict()), actions.astype(np.int32))
        for name in seen:
            seen[name] += np.count_nonzero(getattr(step, name))
        if t % 30 == 29:  # every row is compared while it is new and again when it is old
            rows = np.arange(max(3, t - num_rows + 4), t)
            at, envs = np.repeat(rows, num_envs), np.tile(np.arange(num_envs), len(rows))
            pad = num_rows * num_envs - len(at)  # one shape, one compilation
            batch = gather(state, np.pad(at, (0, pad), "edge"), np.pad(envs, (0, pad), "edge"))
            observation = np.asarray(batch.observation)[: len(at)]
            expected = np.stack([stacks[r][e] for r, e in zip(at, envs, strict=True)])
            np.testing.assert_array_equal(observation, expected)
            compared += len(at)
        stack = pool.step(actions.astype(np.int32))[0]
    assert seen["terminated"] >= 8 and seen["truncated"] >= 8 and seen["life_lost"] >= 100, seen
    assert compared > 30_000


def test_returns_equal_a_naive_recount():
    """Against a pool of EnvPool's own, whose games are summed step by step."""
    pool = importlib.import_module("envpool").make_gymnasium(
        "Breakout-v5", num_envs=4, seed=3, **OPTIONS
    )
    pool.reset()
    tracker, tracked = episodes.EpisodeTracker(4), [[] for _ in range(4)]
    recounted, rewards = [[] for _ in range(4)], [[] for _ in range(4)]
    for step, actions in play(envpool.EnvPoolEnv("Breakout-v5", 4, 3, OPTIONS), 1_500):
        for index, game_return, length, _ in tracker.add(step):
            tracked[index].append((game_return, length))
        restarts = [bool(step.terminated[e] or step.truncated[e]) for e in range(4)]
        _, reward, terminated, truncated, _ = pool.step(actions.astype(np.int32))
        for e in range(4):
            if restarts[e]:  # this step only opened the next game
                rewards[e] = []
                continue
            rewards[e].append(float(reward[e]))
            if terminated[e] or truncated[e]:
                recounted[e].append((sum(rewards[e]), len(rewards[e])))
    for e in range(4):
        # The pool is a step ahead: it may have closed one game more.
        assert tracked[e] == recounted[e][: len(tracked[e])]
        assert len(recounted[e]) - len(tracked[e]) in (0, 1)
        assert len(tracked[e]) >= 4
        assert sum(score for score, _ in tracked[e]) > 0


def test_every_atari_game_starts_and_plays():
    """64 steps of each, two environments side by side."""
    for name in games.atari_names():
        env = envpool.EnvPoolEnv(games.resolve(name), 2, 0, {})
        for step, _ in play(env, 32):
            assert step.frame.shape == (2, 84, 84), name


def test_first_rows_follow_ends_and_lose_no_life():
    env = envpool.EnvPoolEnv("Breakout-v5", 4, 3, OPTIONS)
    before = None
    for step, _ in play(env, 1_000):
        ended = np.ones(4, bool) if before is None else before.terminated | before.truncated
        np.testing.assert_array_equal(step.is_first, ended)
        assert not np.any(step.is_first & step.life_lost)
        before = step


def test_same_seed_same_bytes_whatever_the_threads():
    plays = [
        [step for step, _ in play(envpool.EnvPoolEnv("Breakout-v5", 4, 5, OPTIONS, threads), 200)]
        for threads in (1, 2)
    ]
    for one, two in zip(*plays, strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def test_time_limit_truncates_and_pole_fall_terminates():
    env = envpool.EnvPoolEnv("CartPole-v1", 4, 0, {"max_episode_steps": 15})
    steps = [step for step, _ in play(env, 200)]
    fallen = sum(np.count_nonzero(s.terminated & ~s.truncated) for s in steps)
    limited = sum(np.count_nonzero(s.truncated & ~s.terminated) for s in steps)
    assert fallen > 0 and limited > 0


@pytest.mark.parametrize(
    ("name", "env_id"),
    [
        ("Breakout", "Breakout-v5"),
        ("SpaceInvaders", "SpaceInvaders-v5"),
        ("CartPole", "CartPole-v1"),
        ("MountainCar", "MountainCar-v0"),
        ("Acrobot", "Acrobot-v1"),
        ("Catch", "Catch-v0"),
        ("Breakout-v5", "Breakout-v5"),
        ("LunarLander-v3", "LunarLander-v3"),
    ],
)
def test_names(name, env_id):
    assert games.resolve(name) == env_id
    assert games.resolve(games.plain_name(env_id)) in (env_id, name)


def test_all_atari_games_are_known():
    names = games.atari_names()
    assert len(names) >= 100 and {"Pong", "MontezumaRevenge", "YarsRevenge"} <= set(names)
    assert all(games.is_atari(games.resolve(name)) for name in names)


@pytest.mark.parametrize(
    ("wrong", "near"), [("Breakot", "Breakout"), ("cartpole", "CartPole"), ("pong", "Pong")]
)
def test_unknown_name_gives_the_nearest(wrong, near):
    with pytest.raises(games.UnknownGameError, match=near):
        games.resolve(wrong)


def test_what_a_q_network_cannot_take_is_refused():
    with pytest.raises(envpool.UnsupportedEnvError, match="Discrete"):
        envpool.describe("Pendulum-v1", {})
    with pytest.raises(envpool.UnsupportedEnvError, match="Box"):
        envpool.describe("FrozenLake-v1", {})
    with pytest.raises(envpool.UnknownOptionError, match="no such option"):
        envpool.describe("CartPole-v1", {"frame_skip": 4})


SKIPPED = {**OPTIONS, "frame_skip": 4, "frame_skip_min": 2}


def test_steps_of_random_length_play_as_many_frames():
    """A pool that plays frame by frame with the same actions shows the same, reward for reward."""
    num_envs, rng = 3, np.random.default_rng(0)
    env = frame_skip.make("Breakout-v5", num_envs, 5, SKIPPED)
    single = {**OPTIONS, "frame_skip": 1, "max_episode_steps": 3 * OPTIONS["max_episode_steps"]}
    pool = envpool.EnvPoolEnv("Breakout-v5", num_envs, 5, single)
    frames = np.stack([np.random.default_rng(5 + i).integers(2, 5, 1024) for i in range(num_envs)])
    step, one = env.receive(), pool.receive()
    np.testing.assert_array_equal(step.frame, one.frame)
    assert env.spec.frame_skip == 3
    lengths = collections.Counter()
    for drawn in frames.T[1:301]:  # the first was for the first row, which is no step
        actions = rng.integers(0, 4, num_envs)
        env.send(actions)
        step = env.receive()
        for i in range(num_envs):
            reward, life_lost, played = 0.0, False, 0
            while played < drawn[i]:
                pool.send(actions[i : i + 1], np.array([i]))
                one = pool.receive()
                played += 1
                reward += one.reward[0]
                life_lost |= one.life_lost[0]
                if one.is_first[0] or one.terminated[0] or one.truncated[0]:
                    break
            lengths[played] += 1
            np.testing.assert_array_equal(step.frame[i], one.frame[0])
            assert step.reward[i] == reward and step.life_lost[i] == life_lost
            assert step.terminated[i] == one.terminated[0] and step.is_first[i] == one.is_first[0]
    assert min(lengths[2], lengths[3], lengths[4]) > 200
    env.close()
    pool.close()


def test_steps_of_random_length_are_for_atari():
    with pytest.raises(envpool.UnknownOptionError, match="CartPole"):
        frame_skip.describe("CartPole-v1", {"frame_skip_min": 2})
    assert frame_skip.describe("Breakout-v5", SKIPPED).frame_skip == 3
