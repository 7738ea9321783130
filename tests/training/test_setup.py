"""What lies in a folder when a run begins there."""

import dataclasses

import filelock
import pytest

from jaxdqn import errors
from jaxdqn.rundir import layout, run_lock
from jaxdqn.settings import presets
from jaxdqn.training import run, setup


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    config = presets.resolve("CartPole", "classic", {"hidden_sizes": (8,), "num_envs": 16})
    path = tmp_path_factory.mktemp("folder") / "run"
    return setup.prepare(config, path=path, overwrite=False, capacity_chosen_by_user=False)


def test_a_job_of_slurm_waits_until_a_run_is_let_go(prepared, monkeypatch):
    """A network's disk may hold the lock of a machine that died."""
    waits = []
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(run_lock, "locked", lambda path, wait_s, say: waits.append(wait_s))
    for _ in range(2):
        with pytest.raises(TypeError):  # None is no lock
            run.train(prepared)
        monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert waits == [0, 120]


def test_who_waits_for_a_run_says_so(tmp_path):
    said, lock = [], filelock.FileLock(tmp_path / run_lock.FILE)
    lock.acquire()

    def let_go(line):
        said.append(line)
        lock.release()

    with run_lock.locked(tmp_path, 1e9, let_go):
        assert "is in use: waiting up to" in said[0] and len(said) == 1
        assert not run_lock.wait_until_free(tmp_path)
    assert run_lock.wait_until_free(tmp_path)


def test_a_run_that_was_begun_meanwhile_is_not_resumed_with_other_settings(prepared):
    path = prepared.path
    layout.create(path, dataclasses.replace(prepared.config, seed=3))
    before = (path / layout.CONFIG_FILE).read_bytes()
    with pytest.raises(errors.SettingError, match=r"--seed=0 \(the run has 3\)"):
        run.train(prepared)
    assert (path / layout.CONFIG_FILE).read_bytes() == before
