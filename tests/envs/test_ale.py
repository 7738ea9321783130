"""Atari games that ALE plays by itself."""

import importlib
import sys

import numpy as np
import psutil
import pytest

from jaxdqn import errors
from jaxdqn.assembly import env_spec
from jaxdqn.envs import api, registry, scores
from jaxdqn.playing import held_out_values
from jaxdqn.settings import presets, protocols
from jaxdqn.training import setup

ale_py = pytest.importorskip("ale_py")
SMALL = {"img_height": 21, "img_width": 20, "noop_max": 1}


def made(name="ale:Breakout", num_envs=2, seed=3, with_screen=False, **options):
    options = {**SMALL, **options}
    return registry.make(registry.resolve(name), num_envs, seed, options, 0, with_screen)


def played(env, steps, seed=0):
    """The time steps of random play; closes the environments."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(steps):
        found.append(env.receive())
        env.send(random.integers(0, env.spec.num_actions, env.num_envs))
    env.close()
    return found


def test_it_has_the_games_that_envpool_has_by_the_same_names():
    games = importlib.import_module("jaxdqn.envs.ale.games")
    names = importlib.import_module("jaxdqn.envs.envpool.games").atari_names()
    assert {name.partition(":")[2] for name in games.all_ids()} == set(names)
    by_ale, by_envpool = (registry.game(registry.resolve(n)) for n in ("ale:Pong", "Pong"))
    assert scores.published(by_ale) == scores.published(by_envpool) != {}


def test_settings_for_atari_games_hold():
    config = presets.resolve("ale:SpaceInvaders", "", {})
    assert (config.env, config.preset) == ("ale:SpaceInvaders", "laptop")
    assert presets.reason(config) == "default for Atari games"
    spec = env_spec.describe(config)
    setup.check_effects(config, spec)
    assert spec.frame_shape == (84, 84) and spec.frame_dtype == np.uint8
    assert spec.actions == ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")
    assert (spec.frame_skip, spec.steps_per_second, spec.has_lives) == (4, 15.0, True)
    assert spec.plays_again and spec.game.plain_name == "ale_SpaceInvaders"
    assert spec.game.reference == registry.game("SpaceInvaders-v5").reference
    assert protocols.default_for(config, spec.game) == "nature"
    for preset in ("atari_fast", "nature_dqn", "btr_sticky"):
        env_spec.describe(presets.resolve("ale:Breakout", preset, {}))


def test_observations_are_held_out_with_the_largest_seed():
    """ALE takes no seed beyond it, and each environment adds its number to its own."""
    changes = {**SMALL, "seed": 2**31 - 1, "network": "mlp", "held_out_observations": 4}
    config = presets.resolve("ale:Breakout", "", changes)
    assert len(held_out_values.observe(config, env_spec.describe(config))) == 4


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("ale:breakout", "ale:Breakout"),
        ("ale:SpaceInvader", "ale:SpaceInvaders"),
        ("ale:Breakout-v5", "ale:Breakout"),
        ("ale:zzzzzz", "ale:Breakout, ale:Pong"),
        ("ale:Combat", "nearest: "),  # for two
    ],
)
def test_wrong_names_are_refused_with_the_nearest(wrong, near):
    with pytest.raises(errors.SettingError, match=f"--env: ALE has no game '{wrong}'.*{near}"):
        presets.resolve(wrong, "", {})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"frame_skip_min": 2}, "ale:Breakout has no such option"),
        ({"grayscale": True}, "ale:Breakout has no such option"),
        ({"frame_skip": 3_000_000_000}, "is 3000000000, which ale:Breakout does not accept"),
        ({"noop_max": 3_000_000_000, "img_width": 84}, "is 3000000000, which ale:Breakout does"),
    ],
)
def test_what_ale_does_not_take_is_refused_by_name(options, problem):
    with pytest.raises(api.OptionError, match=problem) as caught:
        registry.describe("ale:Breakout", options)
    assert caught.value.option in options and "\n" not in str(caught.value)


def test_a_game_that_cannot_be_started_is_no_fault_of_its_options(monkeypatch):
    def fails(*args, **options):
        raise RuntimeError("Failed to create thread")

    monkeypatch.setattr(ale_py, "AtariVectorEnv", fails)
    with pytest.raises(api.UnsupportedEnvError, match="cannot be started by ALE: Failed to create"):
        registry.describe("ale:Breakout", {"frame_skip": 7})


def test_without_ale_py_a_line_says_what_to_install(monkeypatch):
    specs = importlib.import_module("jaxdqn.envs.ale.specs")
    specs._cached.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "ale_py"]:
        monkeypatch.setitem(sys.modules, name, None)
    told = r"ale:Breakout needs the package ale-py \(.*\): pip install .*ale-py"
    with pytest.raises(errors.SettingError, match=f"--env: {told}") as caught:
        presets.resolve("ale:Breakout", "", {})
    assert "\n" not in str(caught.value)
    with pytest.raises(api.UnsupportedEnvError, match=told):  # of a run that is read again
        registry.describe("ale:Breakout", {})
    assert presets.resolve("Breakout", "", {}).env == "Breakout-v5"
    with pytest.raises(errors.SettingError, match=r"nearest: Breakout$"):
        presets.resolve("Breakot", "", {})


def test_a_game_at_its_time_limit_shows_its_last_frame():
    """The same as without the limit; ALE itself would show an older one."""
    limited = played(made(max_episode_steps=30), 40)
    free = played(made(), 31)
    for one, other in zip(limited, free, strict=False):
        np.testing.assert_array_equal(one.frame, other.frame)
        np.testing.assert_array_equal(one.reward, other.reward)
    assert limited[30].truncated.all() and limited[31].is_first.all()
    np.testing.assert_array_equal(limited[31].frame, limited[0].frame)
    vector = ale_py.AtariVectorEnv(
        "breakout", 2, max_num_frames_per_episode=120, stack_num=1, reward_clipping=False, **SMALL
    )
    vector.reset(seed=3)
    random = np.random.default_rng(0)
    for step in free[1:]:
        image, *_, truncated, _ = vector.step(random.integers(0, 4, 2))
        np.testing.assert_array_equal(truncated, np.full(2, step is free[-1]))
    assert (image[:, 0] != free[-1].frame).any()


def test_lost_lives_are_told():
    steps = played(made(), 400)
    lost = sum(step.life_lost.sum() for step in steps)
    ends = sum(step.terminated.sum() for step in steps)
    # The last of five is lost with the game.
    assert ends >= 2 and 5 * ends <= lost < 5 * (ends + 2)


def test_pictures_are_those_of_the_screen():
    """The same as EnvPool's, also after the end of a game."""
    options = {"max_episode_steps": 30}
    ale, envpool = made(with_screen=True, **options), made("Breakout", with_screen=True, **options)
    for index in range(40):
        for env in (ale, envpool):
            env.receive()
        assert ale.screen().shape == (210, 160, 3)
        np.testing.assert_array_equal(ale.screen(), envpool.screen())
        for env in (ale, envpool):
            env.send(np.full(2, index % 4))
    ale.close()
    envpool.close()
    plain = made()
    with pytest.raises(api.UnsupportedEnvError, match="ale:Breakout draws no picture"):
        plain.screen()
    plain.close()


def test_its_threads_end_with_it():
    def threads():  # those of other tests may end meanwhile
        return {thread.id for thread in psutil.Process().threads()}

    before = threads()
    env = made(num_envs=8)
    env.receive()
    started = threads() - before
    assert started
    env.send(np.zeros(8, np.int32))
    env.close()
    assert not started & threads()


def test_games_start_and_play():
    """Every thirteenth: an emulator takes a while to start."""
    for name in importlib.import_module("jaxdqn.envs.ale.games").all_ids()[::13]:
        for step in played(made(name, num_envs=1), 3):
            assert step.frame.shape == (1, 21, 20), name


def test_what_an_export_says_makes_the_same_frames():
    options = {"img_height": 42, "max_episode_steps": 9, "frame_skip": 3, "noop_max": 1}
    told = registry.export_options("ale:Breakout", options, 2)
    assert told["stack_num"] == 2 and told["max_num_frames_per_episode"] == 27
    vector = ale_py.AtariVectorEnv(num_envs=1, **told)
    env = registry.make("ale:Breakout", 1, 7, options)
    image, _ = vector.reset(seed=7)
    for _ in range(9):
        np.testing.assert_array_equal(image[:, -1], env.receive().frame)
        env.send(np.array([2]))
        image, *_ = vector.step(np.array([2]))
    env.close()
