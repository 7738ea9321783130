import dataclasses
import json
import pathlib

import pytest

from jaxdqn import config as config_lib
from jaxdqn import presets
from jaxdqn.runtime import run_dir

CONFIG = presets.resolve("CartPole", "", {})


def stored(config):
    return json.loads(json.dumps(dataclasses.asdict(config)))


def test_a_run_older_than_a_setting_goes_on():
    settings = stored(CONFIG)
    del settings["compute_dtype"]
    run_dir.check_same(pathlib.Path("run"), settings, CONFIG)


def test_a_setting_that_differs_is_named():
    settings = stored(CONFIG) | {"seed": 3}
    with pytest.raises(config_lib.SettingError, match=r"--seed=0 \(the run has 3\)"):
        run_dir.check_same(pathlib.Path("run"), settings, CONFIG)
