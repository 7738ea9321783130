import collections
import contextlib
import importlib

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.assembly import env_spec
from jaxdqn.envs import api, episodes, registry, spaces
from jaxdqn.envs.envpool import games, specs
from jaxdqn.envs.envpool import pool as pool_lib
from jaxdqn.replay import ring as ring_lib
from jaxdqn.rundir import trained_agent
from jaxdqn.settings import presets
from jaxdqn.training import setup
from tests import rings, saved

OPTIONS = {"max_episode_steps": 180, "repeat_action_probability": 0.0}


def here(env_ids):
    """Those that this version of EnvPool has and that find their libraries on this system."""
    found = []
    for env_id in env_ids:
        with contextlib.suppress(api.UnsupportedEnvError):
            found += [env_id] if specs.describe(env_id, {}) else []
    return found


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
    """Byte for byte over 800 steps of 8 games: ends, lost lives, time limits, many wraps."""
    num_envs, num_rows, steps = 8, 64, 800
    pool = importlib.import_module("envpool").make_gymnasium(
        "Breakout-v5", num_envs=num_envs, seed=7, stack_num=4, **OPTIONS
    )
    ring = rings.make_ring(
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
    env = pool_lib.EnvPoolEnv("Breakout-v5", num_envs, 7, OPTIONS)
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
    assert compared > 10_000


def test_returns_equal_a_naive_recount():
    """Against a pool of EnvPool's own, whose games are summed step by step."""
    pool = importlib.import_module("envpool").make_gymnasium(
        "Breakout-v5", num_envs=4, seed=3, **OPTIONS
    )
    pool.reset()
    tracker, tracked = episodes.EpisodeTracker(4), [[] for _ in range(4)]
    recounted, rewards = [[] for _ in range(4)], [[] for _ in range(4)]
    for step, actions in play(pool_lib.EnvPoolEnv("Breakout-v5", 4, 3, OPTIONS), 1_000):
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


def test_first_rows_follow_ends_and_lose_no_life():
    env = pool_lib.EnvPoolEnv("Breakout-v5", 4, 3, OPTIONS)
    before = None
    for step, _ in play(env, 600):
        ended = np.ones(4, bool) if before is None else before.terminated | before.truncated
        np.testing.assert_array_equal(step.is_first, ended)
        assert not np.any(step.is_first & step.life_lost)
        before = step


def test_same_seed_same_bytes_whatever_the_threads():
    plays = [
        [step for step, _ in play(pool_lib.EnvPoolEnv("Breakout-v5", 4, 5, OPTIONS, threads), 200)]
        for threads in (1, 2)
    ]
    for one, two in zip(*plays, strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def test_time_limit_truncates_and_pole_fall_terminates():
    env = pool_lib.EnvPoolEnv("CartPole-v1", 4, 0, {"max_episode_steps": 15})
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
        ("LunarLander", "LunarLander-v3"),
        ("LunarLander-v2", "LunarLander-v2"),
    ],
)
def test_names(name, env_id):
    assert registry.resolve(name) == env_id
    assert registry.resolve(registry.game(env_id).plain_name) in (env_id, name)


def test_all_atari_games_are_known():
    names = games.atari_names()
    assert len(names) >= 100 and {"Pong", "MontezumaRevenge", "YarsRevenge"} <= set(names)
    infos = [registry.game(registry.resolve(name)) for name in names]
    assert [info.plain_name for info in infos] == names
    assert {info.family for info in infos} == {api.ATARI}


@pytest.mark.parametrize(
    ("wrong", "near"), [("Breakot", "Breakout"), ("cartpole", "CartPole"), ("pong", "Pong")]
)
def test_unknown_name_gives_the_nearest(wrong, near):
    with pytest.raises(api.UnknownGameError, match=near):
        registry.resolve(wrong)


def test_what_a_q_network_cannot_take_is_refused():
    with pytest.raises(api.UnsupportedEnvError, match="Discrete"):
        specs.describe("Pendulum-v1", {})
    with pytest.raises(api.UnsupportedEnvError, match="Box"):
        specs.describe("FrozenLake-v1", {})
    with pytest.raises(api.UnknownOptionError, match="no such option"):
        specs.describe("CartPole-v1", {"frame_skip": 4})


def test_every_environment_is_described_or_refused_in_a_line():
    """All that EnvPool lists, as `jaxdqn.train` describes them; all Atari games also play."""
    outcomes, played = collections.Counter(), []
    for env_id in games.all_ids():
        try:
            config = presets.resolve(env_id, "", {})
            spec = env_spec.describe(config)
        except errors.SettingError as error:
            text = str(error)
            assert text.startswith(f"--env: {env_id} ") and "\n" not in text, text
            assert len(text) < 300, text
            outcomes["refused"] += 1
        else:
            assert spec.env_id == env_id and spec.num_actions >= 2
            assert spec.frame_shape and min(spec.frame_shape) >= 1
            assert spec.frame_dtype in (np.uint8, np.int32, np.float32)
            outcomes["described"] += 1
            if games.is_atari(env_id):
                for step, _ in play(pool_lib.EnvPoolEnv(env_id, 1, 0, config.env_options), 32):
                    assert step.frame.shape == (1, 84, 84), env_id
                played.append(games.plain_name(env_id))
    assert outcomes["described"] > 100 and outcomes["refused"] > 1000, outcomes
    assert sorted(played) == games.atari_names()


REFUSED = {
    "Chess-v1": r"several players \(2\)",
    "Backgammon-v1": r"several players \(2\)",
    "SparrowMahjong-v1": r"several players \(3\)",
    "IntersectionMultiAgent-v0": r"several players \(2\)",
    "MarlGrid-4AgentEmpty9x9-v0": r"several players \(4\)",
    "VizdoomCustom-v1": "cannot be created by EnvPool: File .*does not exist",
    "Mjlab-Tracking-Flat-Unitree-G1-v0": "cannot be created by EnvPool: .*motion_file",
    "Craftax-Classic-Symbolic-AutoReset-v1": "shows the next game when one ends",
    "MiniGrid-Empty-5x5-v0": r"Dict observations \(direction, image, mission\)",
    "Play2048-v1": r"MultiBinary observations \(4x4x31\)",
}


@pytest.mark.parametrize("env_id", [*REFUSED, "Nothing-v0"])
def test_why_an_environment_is_refused(env_id):
    why = REFUSED[env_id] if games.is_known(env_id) else f"EnvPool has no {env_id}"
    with pytest.raises(api.UnsupportedEnvError, match=why) as caught:
        specs.describe(env_id, {})
    assert "\n" not in str(caught.value)


def test_games_that_restart_within_a_step_would_be_cut_at_their_seams():
    """The reason for which they are refused: the row after an end is a step already."""
    rows = {}
    for name in ("AutoReset-v1", "v1") if here(["Craftax-Classic-Symbolic-v1"]) else ():
        pool = importlib.import_module("envpool").make_gymnasium(
            f"Craftax-Classic-Symbolic-{name}", num_envs=1, seed=0, max_episode_steps=5
        )
        pool.reset()
        steps = [pool.step(np.zeros(1, np.int32)) for _ in range(6)]
        assert [bool(truncated[0]) for _, _, _, truncated, _ in steps] == [False] * 4 + [
            True,
            False,
        ]
        rows[name] = int(steps[-1][-1]["elapsed_step"][0])
    assert rows in ({"AutoReset-v1": 1, "v1": 0}, {})


BOX, ACTIONS = gymnasium.spaces.Box(0, 1, (4,), np.float32), gymnasium.spaces.Discrete(3)


@pytest.mark.parametrize(
    ("actions", "observations", "why"),
    [
        (gymnasium.spaces.Discrete(3, start=1), BOX, "from 0"),
        (gymnasium.spaces.MultiDiscrete([3, 2]), BOX, r"MultiDiscrete actions \(2\)"),
        (BOX, BOX, r"Box actions \(4\); a Q-network needs Discrete"),
        (ACTIONS, gymnasium.spaces.Box(0, 1, (4,), np.float64), "float64"),
        (ACTIONS, gymnasium.spaces.Box(0, 1, (4,), np.int64), "int64"),
        (ACTIONS, gymnasium.spaces.Box(0, 1, (4,), np.bool_), "bool"),
        (ACTIONS, gymnasium.spaces.Box(0, 1, (), np.float32), "Box observations; a Q-network"),
        (ACTIONS, gymnasium.spaces.Tuple([BOX, BOX]), "Tuple observations"),
        (ACTIONS, gymnasium.spaces.Dict(a=BOX, b=BOX), r"Dict observations \(a, b\)"),
        (ACTIONS, gymnasium.spaces.Text(9), "Text observations"),
    ],
)
def test_spaces_of_other_kinds_are_refused(actions, observations, why):
    spaces.check("Some-v0", ACTIONS, BOX)
    with pytest.raises(api.UnsupportedEnvError, match=f"Some-v0 .*{why}"):
        spaces.check("Some-v0", actions, observations)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_episode_steps", 3_000_000_000),
        ("noop_max", 3_000_000_000),
        ("frame_skip", 3_000_000_000),
    ],
)
def test_options_that_envpool_does_not_take_are_named(option, value):
    options = {"img_width": 84, option: value, "use_fire_reset": True}
    with pytest.raises(api.OptionError, match=f"is {value}, which Breakout-v5") as caught:
        specs.describe("Breakout-v5", options)
    assert caught.value.option == option and "\n" not in str(caught.value)


def test_what_envpool_cannot_start_is_said_in_a_line():
    with pytest.raises(api.UnsupportedEnvError, match="CartPole-v1 cannot be started") as caught:
        pool_lib.EnvPoolEnv("CartPole-v1", 1, 0, {}, num_threads=10**10)
    assert "\n" not in str(caught.value)


# Of each family that is accepted one: whether it has lives, and the steps after which it ends a
# game whatever its time limit.
FAMILIES = {
    "Pong-v5": (True, None),
    "LunarLander-v3": (False, None),
    "CartPole-v1": (False, None),
    "Craftax-Classic-Symbolic-v1": (False, None),
    "Roundabout-v1": (False, 11),
    "Highway-v0": (False, 40),
    "MarlGrid-1AgentCluttered15x15-v0": (False, None),
    "MazeEasy-v0": (False, 500),
    "Catch-v0": (False, 9),
    "Blackjack-v1": (False, 21),
}


@pytest.mark.parametrize("env_id", here(FAMILIES))
def test_lives_and_time_limits(env_id):
    spec = specs.describe(env_id, {"max_episode_steps": 7})
    assert (spec.has_lives, spec.own_step_limit) == FAMILIES[env_id]


@pytest.mark.parametrize("env_id", [name for name in here(FAMILIES) if not FAMILIES[name][1]])
def test_time_limits_are_kept(env_id):
    env = pool_lib.EnvPoolEnv(env_id, 2, 0, {"max_episode_steps": 7})
    tracker, lengths = episodes.EpisodeTracker(2), []
    for step, _ in play(env, 40):
        lengths += [game.length for game in tracker.add(step)]
    assert len(lengths) >= 8 and max(lengths) == 7


@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium's, of bounds in float64
@pytest.mark.parametrize("env_id", here(FAMILIES))
def test_games_begin_where_envpool_counts_from_zero(env_id):
    limit = {"max_episode_steps": 20}
    pool = importlib.import_module("envpool").make_gymnasium(env_id, num_envs=2, seed=3, **limit)
    elapsed, firsts = pool.reset()[1]["elapsed_step"], 0
    for step, actions in play(pool_lib.EnvPoolEnv(env_id, 2, 3, limit), 60):
        np.testing.assert_array_equal(step.is_first, elapsed == 0)
        firsts += np.count_nonzero(step.is_first)
        elapsed = pool.step(actions.astype(np.int32))[-1]["elapsed_step"]
    assert firsts >= (2 if env_id == "MazeEasy-v0" else 4)  # a maze takes longer


def test_a_later_time_limit_leaves_an_environments_own_one_as_it_is():
    """Procgen's mazes end after 500 steps: at a time limit, and not as a game that is over."""
    for env_id in here(["MazeEasy-v0"]):
        env = pool_lib.EnvPoolEnv(env_id, 1, 1, {"max_episode_steps": 1_000})
        for count in range(502):
            step = env.receive()
            ended = bool(step.terminated[0]), bool(step.truncated[0])
            assert ended == (False, count == 500), count
            env.send(np.full(1, 4))  # stands still
        env.close()


@pytest.mark.parametrize(
    ("env", "changes", "setting", "message"),
    [
        ("CartPole", {"life_loss_ends": True}, "life_loss_ends", "CartPole-v1 has no lives"),
        ("LunarLander-v3", {"scale_pixels": False}, "scale_pixels", "shows float32, not pixels"),
        ("Blackjack-v1", {"scale_pixels": False}, "scale_pixels", "shows int32, not pixels"),
        ("Catch", {"max_episode_steps": 8}, "max_episode_steps", "after at most 9 steps"),
        ("Highway-v0", {"max_episode_steps": 39}, "max_episode_steps", "after at most 40 steps"),
        ("Blackjack-v1", {"max_episode_steps": 5}, "max_episode_steps", "after at most 21 steps"),
    ],
)
def test_settings_without_effect_are_refused(env, changes, setting, message):
    config = presets.resolve(env, "", changes)
    with pytest.raises(errors.SettingError, match=message) as caught:
        setup.check_effects(config, env_spec.describe(config))
    assert caught.value.setting == setting


def test_films_of_what_draws_no_picture_are_refused():
    for setting in ("record_every_steps", "record_every_episodes"):
        with pytest.raises(errors.SettingError, match="Blackjack-v1 draws no pic") as caught:
            setup.check_films(presets.resolve("Blackjack-v1", "", {setting: 100}))
        assert caught.value.setting == setting
        for env in ("CartPole", "Catch"):  # the second draws nothing, but its boards are pictures
            setup.check_films(presets.resolve(env, "", {setting: 100}))
    setup.check_films(presets.resolve("Blackjack-v1", "", {}))


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_presets_go_with_the_games_that_they_are_for(preset):
    is_of_atari = "frame_skip" in presets.PRESETS[preset].settings
    others = ("CartPole", "Catch", "Blackjack-v1", "Highway-v0")
    envs = ("Pong", "Breakout") if is_of_atari else others
    own = presets.PRESETS[preset].env
    for env in (own,) if own else envs:
        config = presets.resolve(env, preset, {})
        setup.check_effects(config, env_spec.describe(config))


def test_a_limit_that_is_met_anyhow_is_taken():
    for env, limit in (("Catch", 9), ("Catch", 1_000), ("Highway-v0", 40)):
        config = presets.resolve(env, "", {"max_episode_steps": limit})
        setup.check_effects(config, env_spec.describe(config))


def test_runs_that_were_begun_are_not_refused(tmp_path):
    """Of settings without effect; a new one is, and one that takes the place of an old one."""
    changes = {"life_loss_ends": True, "num_envs": 16, "replay_capacity": 1600}
    run = saved.make_run(tmp_path / "run", "CartPole", changes, returns=(1.0,))
    assert trained_agent.load(run, "latest").config.life_loss_ends
    config = presets.resolve("CartPole", "", changes)

    def prepare(path, overwrite):
        return setup.prepare(config, path=path, overwrite=overwrite, capacity_chosen_by_user=True)

    assert prepare(run, overwrite=False).spec.env_id == "CartPole-v1"
    for path, overwrite in ((run, True), (tmp_path / "new", False)):
        with pytest.raises(errors.SettingError, match="--life_loss_ends: has no effect"):
            prepare(path, overwrite)
    assert not (tmp_path / "new").exists()


RATES = {
    "Breakout-v5": 15,
    "LunarLander-v3": 50,
    "LunarLander-v2": 50,
    "CartPole-v0": 50,
    "phys2d/CartPole-v1": 50,
    "MountainCar-v0": 30,
    "Acrobot-v1": 15,
    "Blackjack-v1": 4,
    "tabular/Blackjack-v0": 4,
    "Highway-v0": 1,
    "gfootball/5_vs_5-v1": 10,
    "BigfishEasy-v0": 15,
    "Catch-v0": 30,
}


@pytest.mark.parametrize("env_id", here(RATES))
def test_steps_per_second(env_id):
    assert specs.describe(env_id, {}).steps_per_second == RATES[env_id]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Blackjack-v1"])
def test_steps_per_second_are_gymnasiums(env_id):
    maker = gymnasium.envs.registration.load_env_creator(gymnasium.spec(env_id).entry_point)
    assert games.steps_per_second(env_id, 1) == maker.metadata["render_fps"]


SKIPPED = {**OPTIONS, "frame_skip": 4, "frame_skip_min": 2}


def test_steps_of_random_length_play_as_many_frames():
    """A pool that plays frame by frame with the same actions shows the same, reward for reward."""
    num_envs, rng = 3, np.random.default_rng(0)
    env = registry.make("Breakout-v5", num_envs, 5, SKIPPED)
    single = {**OPTIONS, "frame_skip": 1, "max_episode_steps": 3 * OPTIONS["max_episode_steps"]}
    pool = pool_lib.EnvPoolEnv("Breakout-v5", num_envs, 5, single)
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


def test_who_rests_is_not_played():
    """When it plays again, its game goes on where it stood."""
    env, other = (registry.make("Breakout-v5", 2, 3, OPTIONS) for _ in range(2))
    shown, actions = [], [np.array([2, 1 + moment % 3]) for moment in range(20)]
    for moment, chosen in enumerate(actions):
        shown.append(env.receive())
        env.rest(np.array([False, 5 <= moment < 15]))
        env.send(chosen)
    assert [not step.frame[1].any() for step in shown] == [6 <= moment < 16 for moment in range(20)]
    for step, chosen in zip(shown[:6] + shown[16:], actions[:5] + actions[15:], strict=False):
        for one, wanted in zip(other.receive(), step, strict=True):
            np.testing.assert_array_equal(one[1], wanted[1])
        other.send(chosen)
    env.close()
    other.close()


def test_who_rests_plays_no_frame_of_a_step_of_random_length():
    env, other = (registry.make("Breakout-v5", 2, 3, SKIPPED) for _ in range(2))
    env.rest(np.array([False, True]))
    for moment in range(20):
        step, wanted = env.receive(), other.receive()
        assert step.frame[1].any() == (moment == 0)
        np.testing.assert_array_equal(step.frame[0], wanted.frame[0])
        for each in (env, other):
            each.send(np.array([1 + moment % 3] * 2))
    env.close()
    other.close()


def test_steps_of_random_length_are_for_atari():
    with pytest.raises(api.UnknownOptionError, match="CartPole"):
        registry.describe("CartPole-v1", {"frame_skip_min": 2})
    spec = registry.describe("Breakout-v5", SKIPPED)
    assert (spec.frame_skip, spec.steps_per_second) == (3, 20)
