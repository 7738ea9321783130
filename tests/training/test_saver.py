"""What the saver makes of saves that succeed, fail, or lose what they need."""

import dataclasses

import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.agent import learner
from jaxdqn.algorithms import run_state
from jaxdqn.checkpointing import checkpoint_writer
from jaxdqn.envs import episodes
from jaxdqn.replay import returns
from jaxdqn.rundir import layout, metrics
from jaxdqn.training import saver


class Store:
    """Checkpoints whose saves end as a test says."""

    def __init__(self, *outcomes):
        self.outcomes, self.saved = list(outcomes), []

    def save(self, learner, play, run, ring, life, *, is_complete):
        self.saved.append((run["steps"], ring, is_complete))

    def outcome(self, wait=False):
        return self.outcomes.pop(0) if self.outcomes else None


def outcome(error=""):
    return checkpoint_writer.Outcome(40, error, stall_s=0.1234, write_s=2.0, written_bytes=99)


@pytest.fixture
def make(tmp_path):
    (tmp_path / layout.CONFIG_FILE).touch()
    said = []

    def make(*outcomes):
        writer, store = metrics.Writer(tmp_path, 0), Store(*outcomes)
        made = saver.Saver(tmp_path, store, writer, said.append)
        return made, store, writer

    make.path, make.said = tmp_path, said
    return make


def state(ring="ring"):
    learned = learner.TrainState({}, {}, (), np.int32(0), np.int32(0), np.zeros(2, np.uint32))
    return run_state.RunState(
        learned,
        np.zeros(4),
        [],
        counters=run_state.Counters(steps=40),
        recent=episodes.RecentGames(),
        ring=ring,
    )


def test_the_last_checkpoint_has_no_replay(make):
    made, store, writer = make()
    made.save(state(), (), is_complete=False)
    made.save(state(), (), is_complete=True)
    assert store.saved == [(40, "ring", False), (40, None, True)]
    writer.close()


def test_a_save_is_a_row_of_metrics(make):
    made, _, writer = make(outcome())
    made.report_outcome()
    writer.close()
    (row,) = metrics.read(make.path / metrics.FILE)
    assert row == {
        "step": 40,
        "checkpoint_stall_s": 0.123,
        "checkpoint_write_s": 2.0,
        "checkpoint_bytes": 99,
    }
    assert not made.must_save and not make.said


def test_after_a_failure_another_save_is_asked_for(make):
    made, _, writer = make(outcome("No space left"), outcome())
    made.report_outcome()
    assert made.must_save
    (line,) = make.said
    assert line.startswith("WARNING: the checkpoint of step 40 could not be saved")
    assert line.endswith("No space left")
    made.report_outcome()
    assert not made.must_save
    writer.close()


def test_what_must_be_on_disk_at_the_end_is_checked(make):
    made, _, writer = make(outcome("No space left"))
    with pytest.raises(errors.RunError, match=r"step 40 could not be saved in .*No space left"):
        made.wait(40)
    writer.write(40, {"loss": 1.0})
    made.wait(40)
    (make.path / layout.CONFIG_FILE).unlink()
    with pytest.raises(errors.RunError, match=r"config\.json was deleted during the run"):
        made.wait(40)
    writer.close()


def test_a_batch_that_was_refused_is_kept(make):
    made, _, writer = make()
    fields = [field.name for field in dataclasses.fields(returns.Batch)]
    batch = returns.Batch(**{name: np.full(2, number) for number, name in enumerate(fields)})
    path = make.path / layout.NONFINITE / "40.npz"
    assert made.save_batch(40, batch) == f"is in {path}"
    with np.load(path) as kept:
        assert {name: kept[name].tolist() for name in kept} == {
            name: [number, number] for number, name in enumerate(fields)
        }
    path.unlink()
    path.parent.rmdir()
    path.parent.touch()  # a file in its place
    assert made.save_batch(40, batch).startswith("could not be saved: ")
    writer.close()
