"""Exports: what runs without this package, and that it plays the same."""

import functools
import json
import re

import jax
import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.exporting import export, formats, kinds
from jaxdqn.rundir import trained_agent
from tests import saved

# What is compared with the network is fewer frames than usual.
quickly = functools.partial(export.export, num_frames=16)


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    return trained_agent.load(saved.make_run(tmp_path_factory.mktemp("saved") / "run"), "best")


@pytest.mark.parametrize("name", kinds.KINDS)
def test_an_export_is_whole(agent, name, tmp_path):
    out = tmp_path / "out"
    check = export.export(agent, name, out)
    assert check.frames == 256 and check.largest_difference <= check.tolerance
    files = {path.name for path in out.iterdir()}
    assert files == {"policy.json", "README.md", f"policy.{name}"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_policy_file_and_the_card_say_what_one_needs(agent, tmp_path):
    quickly(agent, "safetensors", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "policy.json").read_text())
    assert told["env"]["id"] == "Breakout-v5" and told["actions"] == [
        "NOOP",
        "FIRE",
        "RIGHT",
        "LEFT",
    ]
    assert told["env"]["envpool_options"]["stack_num"] == 4
    assert told["policy"]["input"]["shape"] == ["batch", 4, 84, 84]
    assert told["checkpoint"] == 20 and told["frames"] == 80
    assert told["scores"]["return_mean"] == 3.0
    assert told["scores"]["human_normalised"] == pytest.approx((3.0 - 1.7) / (30.5 - 1.7))
    assert told["settings"]["seed"] == 0 and "jax" in told["versions"]
    card = (tmp_path / "out" / "README.md").read_text()
    _, header, body = card.split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in header.splitlines())
    metric = json.loads(fields["model-index"])[0]["results"][0]["metrics"][0]
    assert metric["value"] == "3.00 +/- 0.50"
    assert "reinforcement-learning" in json.loads(fields["tags"])
    assert "Mean return 3.00" in body and "NOOP, FIRE, RIGHT, LEFT" in body


@pytest.mark.parametrize("name", ["stablehlo", "onnx"])
def test_any_number_of_observations(agent, name, tmp_path):
    written = tmp_path / "policy"
    formats.FORMATS[name].write(agent, written)
    q_values = formats.FORMATS[name].load(agent, written)
    observation = np.random.default_rng(0).integers(0, 256, (5, 4, 84, 84), np.uint8)
    expected = jax.jit(formats.network(agent).q_values)(agent.params, jax.device_put(observation))
    for count in (1, 2, 5):
        np.testing.assert_allclose(q_values(observation[:count]), expected[:count], atol=1e-5)


def test_values_that_are_not_finite_are_not_exported(agent, tmp_path):
    broken = agent._replace(params=jax.tree.map(lambda leaf: leaf * np.nan, agent.params))
    with pytest.raises(errors.RunError, match="action values for real frames are not finite"):
        quickly(broken, "safetensors", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_file_that_disagrees_is_not_left(agent, tmp_path, monkeypatch):
    whole = formats.FORMATS["safetensors"]

    def write_another(agent, path):
        params = jax.tree.map(lambda leaf: leaf * 1.001, agent.params)
        whole.write(agent._replace(params=params), path)

    monkeypatch.setitem(formats.FORMATS, "safetensors", whole._replace(write=write_another))
    with pytest.raises(errors.RunError, match="disagrees with the network"):
        quickly(agent, "safetensors", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_export_gives_way_to_another_and_nothing_else_does(agent, tmp_path):
    out = tmp_path / "out"
    quickly(agent, "safetensors", out)
    (out / "README.md").write_text("older")
    quickly(agent, "safetensors", out)
    assert export.may_be_replaced(out) and (out / "README.md").read_text() != "older"
    (out / "notes.txt").touch()  # somebody's own
    assert not export.may_be_replaced(out)
    (tmp_path / "other").mkdir()
    assert not export.may_be_replaced(tmp_path / "other")


def test_motion_traces_and_dueling_heads_are_exported_too(tmp_path):
    run = saved.make_run(tmp_path / "run", changes=saved.TRACED, returns=(9.0,))
    agent = trained_agent.load(run, "latest")
    for name in formats.FORMATS:
        quickly(agent, name, tmp_path / name)
        told = json.loads((tmp_path / name / "policy.json").read_text())
        assert told["policy"]["input"]["shape"] == ["batch", 1, 2, 42, 32]
        assert "frame_skip_min" not in told["env"]["envpool_options"]
        assert told["env"]["frames_per_step"] == [2, 4]
        card = (tmp_path / name / "README.md").read_text()
        assert re.search("trace of what moved", card) and re.search("2 to 4 emulator frames", card)


def test_what_becomes_of_observations_of_gymnasium_is_said(tmp_path):
    changes = {"hidden_sizes": (8,), "max_episode_steps": 9, "grayscale": True}
    agent = saved.make_agent("tests.toys.gym_envs:Pictures-v0", changes)
    quickly(agent, "safetensors", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "policy.json").read_text())
    assert told["preprocessing"][0] == "convert the image to grayscale"
    assert told["env"]["gymnasium_options"] == {"max_episode_steps": 9}  # of `gymnasium.make`


def described(env, changes):
    agent = saved.make_agent(env, {**changes, "hidden_sizes": (8,)})
    return export.describe(agent, "safetensors", "policy", export.Check(1, 1, 0.0, 0.0, 1.0))


def test_games_that_nothing_limits_are_exported_with_a_limit():
    told = described("tests.toys.gym_envs:Endless-v0", {})
    assert told["env"]["gymnasium_options"] == {"max_episode_steps": 27_000}


def test_motion_traces_of_other_images_are_said():
    told = described("tests.toys.gym_envs:Grey-v0", {"motion_trace": True})["preprocessing"]
    assert told[0] == "drop the axis of its one channel" and "a second channel" in told[1]


def test_what_an_environment_does_by_default_is_said():
    changes = {"network": "mlp", "frame_skip": None, "use_fire_reset": None}
    told = described("Breakout", {**changes, "frame_skip_min": 2})
    assert told["env"]["frames_per_step"] == [2, 4]
    assert "2 to 4 emulator frames" in told["preprocessing"][0]
    assert "FIRE" in told["preprocessing"][-1]
    told = described("Breakout", {**changes, "use_fire_reset": False})
    assert told["env"]["frames_per_step"] == [4, 4]
    assert told["preprocessing"][0] == "repeat each action for 4 emulator frames"
    assert "FIRE" not in told["preprocessing"][-1]


def test_vectors_are_exported_too(tmp_path):
    run = saved.make_run(tmp_path / "run", "CartPole", {}, returns=(9.0,))
    agent = trained_agent.load(run, "latest")
    for name in formats.FORMATS:
        quickly(agent, name, tmp_path / name)
        told = json.loads((tmp_path / name / "policy.json").read_text())
        assert told["policy"]["input"]["shape"] == ["batch", 1, 4]
        assert told["scores"]["human_normalised"] is None
        assert not re.search(r"luminance|FIRE", (tmp_path / name / "README.md").read_text())
