"""What lies in a folder when a run begins there."""

import dataclasses

import pytest

from jaxdqn import errors
from jaxdqn.rundir import layout
from jaxdqn.settings import presets
from jaxdqn.training import run, setup


def test_a_run_that_was_begun_meanwhile_is_not_resumed_with_other_settings(tmp_path):
    config = presets.resolve("CartPole", "classic", {"hidden_sizes": (8,), "num_envs": 16})
    path = tmp_path / "run"
    prepared = setup.prepare(config, path=path, overwrite=False, capacity_chosen_by_user=False)
    layout.create(path, dataclasses.replace(config, seed=3))
    before = (path / layout.CONFIG_FILE).read_bytes()
    with pytest.raises(errors.SettingError, match=r"--seed=0 \(the run has 3\)"):
        run.train(prepared)
    assert (path / layout.CONFIG_FILE).read_bytes() == before
