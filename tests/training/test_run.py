"""What a run of Breakout leaves behind, and what becomes of it when the command comes again."""

import json
import re

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

from jaxdqn.assembly import env_spec, memory
from jaxdqn.rundir import metrics as metrics_lib
from jaxdqn.settings import presets
from tests import program

FLAGS = ("--env=Breakout", *program.SMALL, "--img_height=42", "--img_width=42")
TRAINING_FIELDS = {
    *("step", "frames", "updates", "episodes", "time_s", "steps_per_second", "samples_per_step"),
    *("wall_time_s", "wall_steps_per_second"),
    *("episode_return_mean", "episode_length_mean", "loss", "q_mean", "grad_norm", "epsilon"),
    *(
        "avg_max_q_value",
        "refused_updates",
        "replay_size",
        "memory_used_bytes",
        "device_memory_used_bytes",
    ),
}
SAVE_FIELDS = {"step", "checkpoint_stall_s", "checkpoint_write_s", "checkpoint_bytes"}
EVALUATION_FIELDS = {"step", "eval_return_mean", "eval_return_std", "eval_episodes"}


@pytest.fixture(scope="module")
def breakout(tmp_path_factory):
    """One short run of Breakout on small frames: (its folder, its process's result)."""
    folder = tmp_path_factory.mktemp("breakout")
    result = program.train(*FLAGS, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "runs" / "Breakout-laptop-seed0", result


def test_a_run_leaves_what_it_promises(breakout):
    run_dir, _ = breakout
    config = json.loads((run_dir / "config.json").read_text())
    assert config["settings"]["env"] == "Breakout-v5"
    assert {"jax", "envpool", "jaxdqn", "python"} <= set(config["versions"])
    assert config["hardware"]["devices"]
    training, evaluations = program.rows(run_dir)
    assert [row["step"] // 100 for row in training] == list(range(1, 9))
    assert all(set(row) == TRAINING_FIELDS for row in training)
    assert all(set(row) == EVALUATION_FIELDS for row in evaluations)
    assert [row["step"] // 400 for row in evaluations] == [1, 2]
    rows = list(metrics_lib.read(run_dir / metrics_lib.FILE))
    saves = metrics_lib.checkpoints(rows)
    assert all(set(row) == SAVE_FIELDS for row in saves)
    assert [row["step"] // 400 for row in saves] == [1, 2]
    assert len(rows) == len(training) + len(evaluations) + len(saves)
    last = training[-1]
    assert last["frames"] == 4 * last["step"]
    assert last["updates"] == (last["step"] - 200) // 8
    assert last["samples_per_step"] == pytest.approx(4, rel=0.05)
    assert last["replay_size"] == 800
    assert training[0]["loss"] is None and last["loss"] > 0
    assert 1e8 < last["memory_used_bytes"] < 1e10 and last["device_memory_used_bytes"] is None
    steps = sorted(int(path.name) for path in (run_dir / "checkpoints").iterdir())
    assert steps == [row["step"] for row in evaluations]


def test_tensorboard_shows_the_same_numbers(breakout):
    run_dir, _ = breakout
    events = event_accumulator.EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    training, evaluations = program.rows(run_dir)
    nowhere = {"step", "device_memory_used_bytes"}  # a CPU's device has no memory of its own
    everywhere = TRAINING_FIELDS | EVALUATION_FIELDS | SAVE_FIELDS
    assert set(events.Tags()["scalars"]) == everywhere - nowhere
    for name, rows in (("updates", training), ("eval_return_mean", evaluations)):
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        assert shown == [(row["step"], pytest.approx(row[name])) for row in rows]


def test_the_network_for_whole_frames():
    config = presets.resolve("Breakout", "", {})
    assert memory.num_parameters(config, env_spec.describe(config)) == 424_276


def test_the_plan_comes_first(breakout):
    _, result = breakout
    plan = result.stdout.splitlines()[:9]
    text = "\n".join(plan)
    for part in (
        "Breakout-v5",
        "laptop (default for Atari games)",
        "31,060 parameters",
        "800 steps",
        "free",
        "3,200 frames",
    ):
        assert part in text
    assert "4 samples per step" in text and "75 of 32" in text
    assert re.search(
        r"^complete, 80\d steps, in .*: mean return .* over 2 games$",
        result.stdout.splitlines()[-1],
    )
    assert result.stderr == ""


def test_the_same_seed_gives_the_same_run(breakout, tmp_path):
    run_dir, _ = breakout
    again = tmp_path / "again"
    result = program.train(*FLAGS, f"--run_dir={again}")
    assert result.returncode == 0, result.stderr
    program.assert_same_end(run_dir, again)


def test_a_complete_run_stays_complete(breakout):
    run_dir, _ = breakout
    metrics = (run_dir / "metrics.jsonl").read_bytes()
    before = program.saved_parameters(run_dir, program.newest(run_dir))
    result = program.train(*FLAGS, cwd=run_dir.parent.parent)
    assert result.returncode == 0 and "already complete" in result.stdout
    after = program.saved_parameters(run_dir, program.newest(run_dir))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    assert (run_dir / "metrics.jsonl").read_bytes() == metrics


def test_other_settings_are_refused_and_listed(breakout):
    run_dir, _ = breakout
    before = (run_dir / "metrics.jsonl").read_bytes()
    flags = (*FLAGS, f"--run_dir={run_dir}", "--n_step=3", "--learning_rate=0.5")
    result = program.train(*flags)
    assert result.returncode == 2 and result.stdout == ""
    assert "--learning_rate=0.5 (the run has 0.00025)" in result.stderr
    assert "--n_step=3 (the run has 1)" in result.stderr
    assert (run_dir / "metrics.jsonl").read_bytes() == before
