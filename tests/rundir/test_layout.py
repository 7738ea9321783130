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
