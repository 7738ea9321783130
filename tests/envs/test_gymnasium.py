"""Environments that are registered with Gymnasium."""

import pathlib
import re
import signal
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.envs import api, registry
from jaxdqn.settings import registry as settings_registry
from tests import program

TOYS = "tests.toys.gym_envs"


def made(env_id, num_envs=5, seed=3, threads=0, with_screen=False, **options):
    """Environments of a toy."""
    env_id = registry.resolve(f"{TOYS}:{env_id}")
    return registry.make(env_id, num_envs, seed, options, threads, with_screen)


def described(env_id, **options):
    return registry.describe(registry.resolve(f"{TOYS}:{env_id}"), options)


def play(env, steps, seed=0):
    """The time steps of random play, and the actions that follow each."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(steps):
        step, actions = env.receive(), rng.integers(0, env.spec.num_actions, env.num_envs)
        env.send(actions)
        found.append((step, actions))
    env.close()
    return found


@pytest.mark.parametrize(("env_id", "first_action"), [("Adder-v0", 0), ("Shifted-v0", -1)])
def test_it_plays_what_a_plain_loop_plays(env_id, first_action):
    """Observations, rewards, ends and first rows of single environments, reset by hand."""
    found = play(made(env_id), 60)
    seen = {"terminated": 0, "truncated": 0}
    for index in range(5):
        env = gymnasium.make(f"{TOYS}:{env_id}")
        (observation, _), ended = env.reset(seed=3 + index), True
        reward, terminated, truncated, lost = 0.0, False, False, False
        for step, actions in found:
            np.testing.assert_array_equal(step.frame[index], observation.astype(np.float32))
            told = (step.reward[index], step.terminated[index], step.truncated[index])
            assert told == (np.float32(reward), terminated, truncated)
            assert (step.is_first[index], step.life_lost[index]) == (ended, lost)
            ended = terminated or truncated
            seen["terminated"] += terminated
            seen["truncated"] += truncated
            if ended:
                (observation, _), reward, terminated, truncated = env.reset(), 0.0, False, False
            else:
                action = actions[index] + first_action
                observation, reward, terminated, truncated, _ = env.step(action)
    assert seen["terminated"] > 10 and seen["truncated"] > 5, seen


def test_actions_are_called_what_it_takes():
    assert described("Shifted-v0").actions == ("-1", "0", "1")
    assert described("Adder-v0").actions == ("0", "1", "2")
    assert described("Adder-v0").action_names == ()


def test_games_depend_on_the_seed_alone():
    one, two, other = (
        play(made("Adder-v0", threads=threads, seed=seed), 30)
        for threads, seed in ((1, 3), (3, 3), (1, 4))
    )
    for (a, _), (b, _) in zip(one, two, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    assert not np.array_equal(one[0][0].frame, other[0][0].frame)
    np.testing.assert_array_equal(one[0][0].frame[1:], other[0][0].frame[:-1])


def test_a_time_limit_of_the_users_replaces_its_own():
    steps = [step for step, _ in play(made("Adder-v0", 1, max_episode_steps=2), 9)]
    assert [int(step.truncated[0]) for step in steps] == [0, 0, 1, 0, 0, 1, 0, 0, 1]
    assert [int(step.is_first[0]) for step in steps] == [1, 0, 0, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("name", "options", "limit"),
    [
        (f"{TOYS}:Endless-v0", {}, 27_000),
        (f"{TOYS}:Endless-v0", {"max_episode_steps": 30_000}, 30_000),
        (f"{TOYS}:Limited-v0", {}, None),  # by its maker
        (f"{TOYS}:Adder-v0", {}, None),  # by its registration
        ("CartPole", {}, None),
        ("Breakout", {}, None),
        ("ale:Breakout", {}, None),
    ],
)
def test_games_that_nothing_limits_get_a_limit(name, options, limit):
    env_id = registry.resolve(name)
    assert registry.limited(env_id, options).get("max_episode_steps") == limit


@pytest.mark.parametrize(
    ("env_id", "options", "shape", "dtype", "made_by"),
    [
        ("Adder-v0", {}, (2,), "float32", "convert it to float32"),
        ("Chosen-v0", {}, (2,), "float32", "convert it to float32"),
        ("Own-v0", {}, (2,), "float32", ""),
        ("Number-v0", {}, (4,), "float32", "turn the number, from "),
        (
            *("Single-v0", {}, (1,), "float32"),
            "convert it to float32, make it a vector of length 1",
        ),
        ("Kinds-v0", {}, (9,), "float32", "convert it to float32"),  # bytes, but not up to 255
        ("Pieces-v0", {}, (9, 7, 4), "float32", "convert it to float32"),
        ("Memory-v0", {}, (9,), "uint8", ""),
        ("Pictures-v0", {}, (3, 6, 4), "uint8", "move the channels to the front"),
        ("Pictures-v0", {"grayscale": True}, (6, 4), "uint8", "convert the image to grayscale"),
        (
            *("Pictures-v0", {"img_height": 3}, (3, 3, 4), "uint8"),
            "move the channels to the front, resize to 3 x 4 by a box filter",
        ),
        (  # whose channels nothing would tell from its columns
            *("Pictures-v0", {"img_height": 3, "img_width": 3}, (27,), "uint8"),
            "move the channels to the front, resize to 3 x 3 by a box filter, flatten it",
        ),
        (
            *("Pictures-v0", {"img_width": 2, "grayscale": True}, (6, 2), "uint8"),
            "convert the image to grayscale, resize to 6 x 2 by a box filter",
        ),
        ("Grey-v0", {}, (6, 4), "uint8", "drop the axis of its one channel"),
        (
            *("Grey-v0", {"grayscale": True, "img_width": 2}, (6, 2), "uint8"),
            "drop the axis of its one channel, resize to 6 x 2 by a box filter",
        ),
        ("Flat-v0", {}, (6, 4), "uint8", ""),
        (
            *("Flat-v0", {"grayscale": True, "img_height": 12}, (12, 4), "uint8"),
            "resize to 12 x 4 by a box filter",
        ),
    ],
)
def test_observations_become_frames(env_id, options, shape, dtype, made_by):
    spec = described(env_id, **options)
    assert (spec.frame_shape, spec.frame_dtype) == (shape, np.dtype(dtype))
    assert spec.frames_made.startswith(made_by) and bool(made_by) == bool(spec.frames_made)
    for step, _ in play(made(env_id, 3, **options), 3):
        assert step.frame.shape == (3, *shape) and step.frame.dtype == np.dtype(dtype)
        if env_id == "Number-v0":
            assert (step.frame.sum(axis=1) == 1).all() and set(step.frame.ravel()) == {0, 1}


def test_images_are_averaged_and_channels_come_first():
    (step, _), *_ = play(made("Pictures-v0", 1, img_height=2, img_width=1), 1)
    np.testing.assert_array_equal(step.frame[0], [100, 100, 0, 0, 0, 0])
    (step, _), *_ = play(made("Pictures-v0", 1, grayscale=True), 1)
    np.testing.assert_array_equal(step.frame[0], [[60, 60, 0, 0]] * 6)  # 0.299 * 200


@pytest.mark.parametrize(
    ("env_id", "problem"),
    [
        ("Continuous-v0", r"Box actions \(2\); a Q-network needs Discrete"),
        ("Dict-v0", r"Dict observations \(a, b\); a Q-network needs one Box array"),
        ("Text-v0", "Text observations"),
    ],
)
def test_what_a_network_cannot_play_is_refused(env_id, problem):
    with pytest.raises(api.UnsupportedEnvError, match=problem):
        described(env_id)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"noop_max": 3}, "has no such option"),
        ({"img_height": 3}, "is 3, but .* shows no images of bytes"),
        ({"grayscale": True}, "is True, but .* shows no images of bytes"),
    ],
)
def test_options_that_it_does_not_take_are_refused(options, problem):
    with pytest.raises(api.OptionError, match=problem):
        described("Adder-v0", **options)


def test_a_function_cannot_be_started_elsewhere():
    with pytest.raises(api.UnsupportedEnvError, match="entry_point of the form 'module:name'"):
        made("Local-v0")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("gymnasium:CartPol", "Did you mean: `CartPole`"),
        ("nowhere.at_all:X-v0", "'nowhere.at_all' of 'nowhere.at_all:X-v0' cannot be imported"),
        (f"{TOYS}:Addr", "Did you mean: `Adder`"),
    ],
)
def test_wrong_names_are_refused_with_the_nearest(name, problem, capsys):
    with pytest.raises(api.UnknownGameError, match=problem):
        registry.resolve(name)
    assert capsys.readouterr().err == ""


def test_a_name_without_a_version_means_the_latest():
    assert registry.resolve(f"{TOYS}:Twice") == f"{TOYS}:Twice-v2"
    assert registry.game(f"{TOYS}:Twice-v2").plain_name == f"{TOYS}_Twice-v2"
    assert registry.resolve("gymnasium:CartPole") == "gymnasium:CartPole-v1"


def test_only_what_the_user_names_is_imported():
    """The name in the folder of a run comes from whoever made the folder."""
    with pytest.raises(api.UnsupportedEnvError, match="--plugins=antigravity imports it"):
        registry.describe("antigravity:Up-v0", {})
    assert "antigravity" not in sys.modules


def test_pictures_are_those_of_the_environment():
    env = made("Adder-v0", 2, with_screen=True)
    for expected in range(3):
        env.receive()
        assert env.screen().shape == (6, 4, 3) and (env.screen() == expected).all()
        env.send(np.zeros(2, np.int32))
    env.close()
    env = made("Adder-v0", 1)
    env.receive()
    with pytest.raises(api.UnsupportedEnvError, match="draws no picture"):
        env.screen()
    env.send(np.zeros(1, np.int32))
    assert env.receive().frame.shape == (1, 2)  # and plays on
    env.close()


def test_what_it_prints_is_no_result_of_the_program(capfd, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")  # which is the run's alone
    play(made("Printing-v0", 1), 3)
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.count("a step on cpu") == 3


def test_those_that_rest_are_not_played(capfd):
    env = made("Printing-v0", 5)
    for resting in range(4):
        env.receive()
        env.rest(np.arange(5) < resting)
        env.send(np.zeros(5, np.int32))
    shown = env.receive()
    assert not shown.reward[:3].any() and shown.reward[3:].all()
    env.close()
    assert capfd.readouterr().err.count("a step") == 5 + 4 + 3 + 2


def test_others_of_the_same_id_are_told_apart():
    names = [f"{TOYS}:Adder-v0", "gymnasium:CartPole-v1", "CartPole-v1"]
    plain = [registry.game(registry.resolve(name)).plain_name for name in names]
    assert plain == ["tests.toys.gym_envs_Adder-v0", "gymnasium_CartPole-v1", "CartPole"]


def test_a_failing_environment_is_named_with_its_trace(capfd):
    env = made("Failing-v0", 3)
    with pytest.raises(errors.RunError, match="Failing-v0 failed: ZeroDivisionError: one over"):
        play(env, 9)
    env.close()
    assert "in step" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("env_id", "problem"),
    [
        ("Below-v0", "is 0, but observation_space has numbers from 1 to 4"),
        ("Bright-v0", "has type float64, but observation_space has uint8"),
        ("Turned-v0", "has shape (3, 6, 4), but observation_space has (6, 4, 3)"),
        ("Large-v0", "has values from 256 to 256, but observation_space has uint8"),
    ],
)
def test_observations_that_would_be_changed_are_refused(env_id, problem, capfd):
    env = made(env_id, 1)
    with pytest.raises(
        errors.RunError, match=re.escape(f"{env_id} failed: an observation {problem}")
    ):
        env.receive()
    env.close()
    assert capfd.readouterr().err == ""


def test_a_process_that_dies_is_noticed():
    env = made("Dying-v0", 3)
    with pytest.raises(errors.RunError, match="Dying-v0 ended with code 3"):
        play(env, 9)
    env.close()


def test_what_it_says_beside_is_left_out_and_it_is_closed(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKING_CLOSED", str(tmp_path / "told"))
    described("Talking-v0")
    (tmp_path / "told").unlink(missing_ok=True)
    with pytest.raises(api.OptionError):
        described("Talking-v0", img_height=3)
    assert (tmp_path / "told").read_text() == "closed\n"
    (tmp_path / "told").unlink()
    play(made("Talking-v0", 3, threads=1), 20)
    assert (tmp_path / "told").read_text() == "closed\n" * 3


def test_channels_are_resized_one_by_one():
    env = made("Plain-v0", 1, img_height=1, img_width=1)
    np.testing.assert_array_equal(env.receive().frame[0].ravel(), [100, 80, 60, 0])
    env.close()
    with pytest.raises(api.OptionError, match="shows images of 4 channels"):
        described("Plain-v0", grayscale=True)


@pytest.mark.parametrize(
    ("env_id", "problem"),
    [
        ("Plain-v0", "Plain-v0 has no render(): "),
        ("Strict-v0", "Strict-v0 draws no picture: render() returns None; "),
    ],
)
def test_without_rendering_there_is_no_picture(env_id, problem, capfd):
    env = made(env_id, 1, with_screen=True)
    env.receive()
    remedy = 'return an RGB array from it, and list "rgb_array" in metadata["render_modes"]'
    with pytest.raises(api.UnsupportedEnvError, match=re.escape(problem + remedy)):
        env.screen()
    env.close()
    assert capfd.readouterr() == ("", "")  # Gymnasium's own warning would be in colours


def test_what_lacks_a_part_is_refused(capsys):
    with pytest.raises(
        api.UnsupportedEnvError, match="Lacking-v0 cannot be made by Gymnasium: Att"
    ):
        described("Lacking-v0")
    assert "Traceback" in capsys.readouterr().err


def test_a_module_that_fails_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken_module.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(api.UnknownGameError, match="cannot be imported: ZeroDivisionError"):
        registry.resolve("broken_module:X-v0")
    assert 'broken_module.py", line 1' in capsys.readouterr().err
    with pytest.raises(errors.SettingError, match="cannot be imported: ZeroDivisionError"):
        settings_registry.load_plugins(["broken_module"])
    assert 'broken_module.py", line 1' in capsys.readouterr().err


@pytest.mark.parametrize("env_id", ["Adder-v0", "Stuck-v0"])
def test_the_processes_end_with_theirs(env_id):
    """Whatever ends it, and whatever they are doing: here nothing tells them."""
    code = (
        "import os, sys, psutil, numpy\n"
        "from jaxdqn.envs import registry\n"
        f"env = registry.make(registry.resolve('{TOYS}:{env_id}'), 2, 0, {{}}, 2)\n"
        "for _ in range(3):\n"
        "  env.receive()\n"
        "  env.send(numpy.zeros(2, int))\n"
        "print(*[child.pid for child in psutil.Process().children()], flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=program.ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    children = list(map(int, ended.stdout.split()))
    assert len(children) == 2

    def are_gone():
        return not any(pathlib.Path(f"/proc/{pid}").exists() for pid in children)

    program.wait_until(are_gone)
