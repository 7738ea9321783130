import contextlib
import dataclasses
import json
import pathlib

import pytest

from jaxdqn import errors
from jaxdqn.rundir import layout
from jaxdqn.settings import presets

CONFIG = presets.resolve("CartPole", "classic", {})


def stored(config):
    return json.loads(json.dumps(dataclasses.asdict(config)))


def test_a_run_older_than_a_setting_goes_on():
    settings = stored(CONFIG)
    del settings["compute_dtype"]
    layout.check_same(pathlib.Path("run"), settings, CONFIG)


def test_a_setting_that_differs_is_named():
    settings = stored(CONFIG) | {"seed": 3}
    with pytest.raises(errors.SettingError, match=r"--seed=0 \(the run has 3\)"):
        layout.check_same(pathlib.Path("run"), settings, CONFIG)


@pytest.mark.parametrize(
    ("total_steps", "decay_steps", "is_refused"),
    [(60_000, 50_000, False), (60_000, 0, True), (40_000, 50_000, True)],
)
def test_a_run_gets_more_steps_unless_something_decays_until_its_end(
    total_steps, decay_steps, is_refused
):
    begun = dataclasses.replace(CONFIG, learning_rate_decay_steps=decay_steps)
    config = dataclasses.replace(begun, total_steps=total_steps)
    told = rf"--total_steps={total_steps} \(the run has 50000\)"
    refused = pytest.raises(errors.SettingError, match=told)
    with refused if is_refused else contextlib.nullcontext():
        layout.check_same(pathlib.Path("run"), stored(begun), config)
