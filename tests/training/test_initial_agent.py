"""Runs that start from the parameters of a trained agent."""

import jax
import numpy as np
import pytest

from jaxdqn.exporting import export
from jaxdqn.rundir import layout, trained_agent
from jaxdqn.settings import presets
from tests import program, saved

NETWORK = {"hidden_sizes": (8,)}
FLAGS = (
    *("--env=CartPole", "--preset=classic", "--hidden_sizes=8", "--total_steps=400"),
    *("--eval_episodes=0", "--log_every_steps=100", "--held_out_observations=20"),
)


@pytest.fixture(scope="module")
def agent():
    return saved.make_agent("CartPole", NETWORK)


@pytest.fixture(scope="module")
def folder(agent, tmp_path_factory):
    out = tmp_path_factory.mktemp("agents") / "out"
    export.export(agent, "safetensors", out)
    return out


def test_a_run_begins_with_the_parameters_of_an_agent(tmp_path, agent, folder):
    """Nothing is learned until the end, so that the last checkpoint still has them."""
    run = tmp_path / "run"
    flags = (f"--initial_agent={folder}", f"--run_dir={run}", "--learning_starts_steps=400")
    result = program.train(*FLAGS, *flags)
    assert result.returncode == 0, result.stderr
    found = trained_agent.load(run, "latest").params
    jax.tree.map(np.testing.assert_array_equal, found, agent.params)
    learned = program.saved_learner(run, program.newest(run))
    program.assert_equal(learned["params"], learned["target_params"])


def test_without_a_target_network_too(tmp_path, folder):
    changes = ("--preset=classic_pqn", "--hidden_sizes=8", "--layer_norm=none", "--num_envs=8")
    flags = ("--env=CartPole", *changes, "--total_steps=1000", "--eval_episodes=0")
    result = program.train(*flags, f"--initial_agent={folder}", f"--run_dir={tmp_path / 'run'}")
    assert result.returncode == 0, result.stderr


def test_a_run_that_has_saved_nothing_yet_begins_so_again(tmp_path, agent, folder):
    """As after a failure before the first checkpoint."""
    flags = (f"--initial_agent={folder}", f"--run_dir={tmp_path / 'run'}")
    changes = {"initial_agent": str(folder), "preset": "classic", "hidden_sizes": (8,)}
    changes |= {"num_envs": 8, "total_steps": 400, "learning_starts_steps": 400}
    changes |= {"eval_episodes": 0, "log_every_steps": 100, "held_out_observations": 20}
    preset = changes.pop("preset")
    layout.create(tmp_path / "run", presets.resolve("CartPole", preset, changes))
    result = program.train(*FLAGS, *flags, "--learning_starts_steps=400", "--num_envs=8")
    assert result.returncode == 0, result.stderr
    found = trained_agent.load(tmp_path / "run", "latest").params
    jax.tree.map(np.testing.assert_array_equal, found, agent.params)


@pytest.mark.parametrize(
    ("changes", "flags", "told"),
    [
        ({}, ("--dueling",), "whose network differs from that of this run: "),
        # The shapes are equal, but the outputs mean something else.
        ({"head": "c51"}, ("--head=c51", "--value_max=20"), "it has --value_max=10.0"),
    ],
)
def test_another_network_is_refused(tmp_path, changes, flags, told):
    export.export(saved.make_agent("CartPole", NETWORK | changes), "safetensors", tmp_path / "out")
    given = (f"--initial_agent={tmp_path / 'out'}", f"--run_dir={tmp_path / 'run'}")
    result = program.train(*FLAGS, *flags, *given)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: --initial_agent: is ") and told in line
    assert not (tmp_path / "run").exists()


def test_a_wrong_name_is_refused(tmp_path):
    result = program.train(*FLAGS, "--initial_agent=Nobody", f"--run_dir={tmp_path / 'run'}")
    assert result.returncode == 2
    assert result.stderr.startswith("error: --initial_agent: is 'Nobody'; must be a built-in agent")
    assert not (tmp_path / "run").exists()
