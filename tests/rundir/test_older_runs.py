"""A run that an older version began and stopped; the data says how it was made.

Version 0.1.0 before its packages were sorted (checkpoint format 2), with `FLAGS`, stopped by
SIGTERM after step 1,200 of 2,000.
"""

import json
import pathlib
import tarfile

import pytest

from jaxdqn.rundir import trained_agent
from tests import program

DATA = pathlib.Path(__file__).parents[1] / "data" / "catch_0_1_stopped.tar.xz"
FLAGS = (
    *("--env=Catch", "--num_envs=4", "--total_steps=2000", "--learning_starts_steps=200"),
    *("--replay_capacity=400", "--hidden_sizes=8", "--batch_size=16", "--eval_every_steps=800"),
    *("--eval_episodes=2", "--checkpoint_every_steps=400", "--log_every_steps=200"),
    *("--keep_checkpoints=1", "--explore_max_steps=8", "--held_out_observations=16"),
)


@pytest.fixture
def run(tmp_path):
    with tarfile.open(DATA) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "run"


def test_settings_that_came_later_have_their_defaults(run):
    config = trained_agent.read_config(run)
    assert (config.sampler, config.head, config.explorer) == ("uniform", "scalar", None)
    assert config.chosen_explorer == "lasting"  # as --explore_max_steps=8 meant then


def test_it_is_resumed(run):
    before = (run / "metrics.jsonl").read_text().splitlines()
    result = program.train(*FLAGS, f"--run_dir={run}")
    assert result.returncode == 0, result.stderr
    assert "resuming from step 1,200" in result.stdout
    after = (run / "metrics.jsonl").read_text().splitlines()
    assert after[: len(before)] == before
    last = program.rows(run)[0][-1]
    assert last["step"] == 2000 and last["updates"] == 900


def test_it_is_evaluated_exported_and_reported(run, tmp_path):
    for name, flags in {
        "evaluate": (f"--run_dir={run}", "--episodes=2"),
        "export": (f"--run_dir={run}", "--format=safetensors", f"--out={tmp_path / 'agent'}"),
        "report": (f"--runs={run}", f"--out={tmp_path / 'report.html'}"),
    }.items():
        result = program.run(name, *flags)
        assert result.returncode == 0, result.stderr
    described = json.loads((tmp_path / "agent" / "policy.json").read_text())
    assert described["checkpoint"] == 1200
    assert "at 60%" in (tmp_path / "report.html").read_text()
