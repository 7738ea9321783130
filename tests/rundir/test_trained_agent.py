"""Reading a trained agent from the folder of its run."""

import json
import shutil

import jax
import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.algorithms import dqn, replayed
from jaxdqn.assembly import env_spec
from jaxdqn.checkpointing import checkpoint_folders, checkpoint_writer
from jaxdqn.distributed import mesh
from jaxdqn.rundir import trained_agent
from tests import program, saved


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved.make_run(tmp_path_factory.mktemp("saved") / "run")


def test_latest_best_and_a_step(run):
    before = saved.listing(run)
    config = trained_agent.read_config(run)
    built = dqn.ALGORITHM.build(config, env_spec.describe(config), mesh.make_mesh(1))
    for asked, step in (("latest", 30), ("best", 20), ("10", 10)):
        agent = trained_agent.load(run, asked)
        assert agent.step == agent.evaluation["step"] == step
        expected = built.init(jax.random.key(step // 10)).params
        jax.tree.map(np.testing.assert_array_equal, agent.params, expected)
    assert agent.config.hidden_sizes == (512,) and agent.spec.num_actions == 4
    assert saved.listing(run) == before  # nothing is written


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("15", "--checkpoint: is 15; .* has 10, 20, 30"),
        (
            "newest",
            "--checkpoint: is 'newest'; must be latest, best or one of these steps: 10, 20, 30",
        ),
        ("-10", "--checkpoint: is '-10'"),
    ],
)
def test_a_checkpoint_that_is_not_there(run, asked, message):
    with pytest.raises(errors.SettingError, match=message):
        trained_agent.load(run, asked)


def test_what_is_no_run_or_has_no_checkpoint(run, tmp_path):
    with pytest.raises(errors.SettingError, match="holds no run"):
        trained_agent.load(tmp_path / "nothing", "latest")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    shutil.copy(run / "config.json", fresh)
    with pytest.raises(errors.SettingError, match="has no checkpoint yet"):
        trained_agent.load(fresh, "latest")
    shutil.copytree(run / "checkpoints", fresh / "checkpoints")
    with pytest.raises(errors.SettingError, match="no checkpoint that was evaluated"):
        trained_agent.load(fresh, "best")


def test_folders_that_cannot_be_read_are_named(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "metrics.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(errors.RunError, match=r"metrics.jsonl cannot be read"):
        trained_agent.load(copy, "latest")
    shutil.rmtree(copy / "checkpoints")
    (copy / "checkpoints").touch()
    with pytest.raises(errors.RunError, match=r"checkpoints cannot be read"):
        trained_agent.load(copy, "latest")
    stored = json.loads((run / "config.json").read_text())
    stored["settings"]["env"] = "Foo-v9"
    shutil.copytree(run, tmp_path / "foo")
    (tmp_path / "foo" / "config.json").write_text(json.dumps(stored))
    with pytest.raises(
        errors.SettingError, match="--env: EnvPool, ALE and Gymnasium have no Foo-v9"
    ):
        trained_agent.load(tmp_path / "foo", "latest")


def test_an_agent_moves_to_the_same_game_of_another_source(run):
    agent = trained_agent.load(run, "latest")
    moved = trained_agent.elsewhere(agent, "ale:Breakout")
    assert moved.spec.game.source == "ALE" and moved.config.env == moved.spec.env_id
    assert moved.params is agent.params and moved.config.env_options == agent.config.env_options


def test_an_agent_moves_to_where_nobody_named_the_actions():
    agent = saved.make_agent("CartPole", {"hidden_sizes": (8,)})
    assert agent.spec.actions == ("LEFT", "RIGHT")
    moved = trained_agent.elsewhere(agent, "gymnasium:CartPole-v1")
    assert moved.spec.actions == ("0", "1") and moved.config.env == "gymnasium:CartPole-v1"
    with pytest.raises(errors.SettingError, match=r"actions 0, 1, 2 in .*and actions LEFT, RIGHT"):
        trained_agent.elsewhere(agent, "gymnasium:Acrobot-v1")


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ("Pong", "and actions NOOP, FIRE, RIGHT, LEFT, .* in Pong-v5; the agent knows frames of "),
        ("CartPole", "--frame_skip: CartPole-v1 has no such option"),
        ("Breakot", "--env: .* nearest: Breakout"),
    ],
)
def test_an_agent_does_not_move_to_what_it_does_not_know(run, env, problem):
    with pytest.raises(errors.SettingError, match=problem) as caught:
        trained_agent.elsewhere(trained_agent.load(run, "latest"), env)
    assert "\n" not in str(caught.value)


def test_a_line_that_was_cut_off_is_no_matter(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    lines = (copy / "metrics.jsonl").read_text().splitlines()
    (copy / "metrics.jsonl").write_text("\n".join([*lines[:-1], lines[-1][:20]]))
    agent = trained_agent.load(copy, "latest")
    assert agent.step == 30 and agent.evaluation is None


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("quantiles", 8, "the setting quantiles is not one of this version"),
        ("seed", "zero", "the setting seed is 'zero'"),
        ("hidden_sizes", [512, "x"], "the setting hidden_sizes"),
        ("double_q", 1, "the setting double_q is 1"),
        ("discount", 1.5, "discount: is 1.5"),
    ],
)
def test_settings_of_another_version(run, tmp_path, setting, value, message):
    stored = json.loads((run / "config.json").read_text())
    stored["settings"][setting] = value
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(errors.RunError, match=f"cannot be used by this version: .*{message}"):
        trained_agent.load(tmp_path, "latest")


def test_the_best_checkpoint_stays(tmp_path, key):
    config = trained_agent.read_config(saved.make_run(tmp_path / "run", returns=(1.0,)))
    state = replayed.build_programs(
        config, env_spec.describe(config), mesh.make_mesh(1), dqn.make_learner
    ).init(key)
    for best, steps, left in ((1, (1, 2, 3, 4), [1, 3, 4]), (4, (5, 6), [4, 5, 6])):
        store = checkpoint_writer.Writer(
            tmp_path / "store", keep=2, best=lambda steps, best=best: best
        )
        for step in steps:
            store.save(state, {"updates": state.updates}, {"steps": step})
        store.close()
        assert checkpoint_folders.steps_in(tmp_path / "store") == left


def test_a_run_under_way_can_be_read(tmp_path):
    """It deletes its checkpoints under the reader's hands."""
    path = tmp_path / "run"
    flags = (
        "--env=CartPole",
        "--preset=classic",
        "--num_envs=8",
        "--learning_starts_steps=500",
        "--hidden_sizes=32",
    )
    flags += ("--replay_capacity=2000", "--total_steps=1000000", "--eval_episodes=0")
    flags += ("--checkpoint_every_steps=16", "--keep_checkpoints=1", "--nocheckpoint_replay")
    process = program.start(*flags, f"--run_dir={path}")
    program.wait_for_checkpoint(path, 1)
    steps = [trained_agent.load(path, "latest").step for _ in range(12)]
    process.kill()
    process.end()
    assert steps == sorted(steps) and steps[0] < steps[-1]


def test_a_step_that_was_deleted_is_told(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    shutil.rmtree(copy / "checkpoints" / "30")
    with pytest.raises(errors.SettingError, match=r"--checkpoint: is 30; .* has 10, 20"):
        trained_agent.load(copy, "30")
    assert trained_agent.load(copy, "latest").step == 20
