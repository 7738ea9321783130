import json
import math

import pytest

from jaxdqn import errors
from jaxdqn.rundir import metrics


def test_a_writer_drops_rows_that_lie_ahead(tmp_path):
    writer = metrics.Writer(tmp_path, 0)
    for step in (10, 20, 30):
        writer.write(step, {"loss": step / 10, "episode_return_mean": None})
    writer.close()
    with (tmp_path / metrics.FILE).open("a") as file:
        file.write('{"step": 40, "lo')  # cut off by a crash
    writer = metrics.Writer(tmp_path, 20)
    writer.write(25, {"loss": 9.0})
    writer.close()
    rows = [json.loads(line) for line in (tmp_path / metrics.FILE).read_text().splitlines()]
    assert rows == [
        {"step": 10, "loss": 1.0, "episode_return_mean": None},
        {"step": 20, "loss": 2.0, "episode_return_mean": None},
        {"step": 25, "loss": 9.0},
    ]


def test_a_file_that_is_as_it_should_be_is_not_written_anew(tmp_path):
    writer, path = metrics.Writer(tmp_path, 0), tmp_path / metrics.FILE
    writer.write(10, {"loss": 0.1, "episode_return_mean": None})
    writer.close()
    before = path.stat()
    metrics.Writer(tmp_path, 10).close()
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.write_text(path.read_text().removesuffix("\n"))  # cut off
    writer = metrics.Writer(tmp_path, 10)
    writer.write(20, {"loss": 0.2})
    writer.close()
    assert [row["step"] for row in metrics.read(path)] == [10, 20]


def test_a_link_in_a_strangers_folder_leads_nowhere(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / ".metrics.part.jsonl").symlink_to(victim)
    writer = metrics.Writer(run, 0)
    writer.write(1, {"loss": 1.0})
    writer.close()
    assert victim.read_text() == "mine" and not (run / metrics.FILE).is_symlink()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000])
def test_what_cannot_be_read_is_told_or_left_out(tmp_path, content):
    (tmp_path / metrics.FILE).write_bytes(content + b'\n{"step": 1}\n')
    if content[0] == 0xFF:
        with pytest.raises(errors.RunError, match="cannot be read"):
            metrics.Writer(tmp_path, 9)
    else:
        assert list(metrics.read(tmp_path / metrics.FILE)) == [{"step": 1}]


def test_rows_are_told_apart():
    training = [{"step": step, "updates": step, "episode_return_mean": None} for step in (1, 3)]
    saves = [{"step": 2, "checkpoint_stall_s": 0.1, "checkpoint_bytes": 7}]
    evaluations = [{"step": 3, "eval_return_mean": 1.0}]
    sweeps = [{"step": 3, "sweep_states": 9}]
    rows = [training[0], *saves, training[1], *evaluations, *sweeps]
    assert metrics.training(iter(rows)) == training
    assert metrics.checkpoints(iter(rows)) == saves
    assert metrics.evaluations(iter(rows)) == evaluations


def test_rows_of_equal_runs_are_equal_but_for_times():
    rows = [{"step": 1, "loss": 0.5, "time_s": 7.0}, {"step": 1, "checkpoint_bytes": 9}]
    assert metrics.without_varying(rows) == [{"step": 1, "loss": 0.5}]


def test_what_is_not_finite_is_null(tmp_path):
    writer = metrics.Writer(tmp_path, 0)
    writer.write(1, {"loss": float("nan"), "q_mean": float("inf"), "updates": 3})
    writer.close()
    row = json.loads((tmp_path / metrics.FILE).read_text())
    assert row == {"step": 1, "loss": None, "q_mean": None, "updates": 3}


def test_the_last_evaluation_is_remembered(tmp_path):
    writer = metrics.Writer(tmp_path, 0)
    assert writer.last_evaluation is None
    for step in (10, 20):
        writer.write(step, {"eval_return_mean": float(step)})
        writer.write(step + 5, {"loss": 1.0})
    writer.close()
    for from_step, step in ((30, 20), (15, 10)):
        writer = metrics.Writer(tmp_path, from_step)
        assert writer.last_evaluation == {"step": step, "eval_return_mean": float(step)}
        writer.close()


def test_an_evaluation_that_failed_is_made_again_only_by_a_run_that_resumes_at_its_step(tmp_path):
    writer = metrics.Writer(tmp_path, 0)
    for step in (10, 20):
        writer.write(step, metrics.FAILED_EVALUATION)
    writer.close()
    writer = metrics.Writer(tmp_path, 20)
    assert writer.last_evaluation["step"] == 10 and metrics.has_failed(writer.last_evaluation)
    writer.write(20, {"eval_return_mean": 5.0, "eval_return_std": 1.0, "eval_episodes": 3})
    writer.close()
    rows = list(metrics.read(tmp_path / metrics.FILE))
    assert [(row["step"], row["eval_episodes"]) for row in rows] == [(10, 0), (20, 3)]


def test_an_evaluation_without_a_score_is_never_the_best():
    rows = [
        {"step": step, "eval_return_mean": score, "eval_return_std": 0.5}
        for step, score in enumerate([None, 1.0, math.inf, math.nan, 0.5, "x", 10**400])
    ]
    assert metrics.evaluations([*rows, {"step": 9, "loss": 1.0}, {"step": 9}]) == rows
    assert [row["step"] for row in metrics.scored(rows)] == [1, 4]
    assert metrics.best(rows) == rows[1]
    assert metrics.best(rows[:1]) is None
