import json

import numpy as np
import pytest

from jaxdqn import config as config_lib
from jaxdqn import presets
from jaxdqn.envs import api
from jaxdqn.runtime import episodes, memory, metrics

SPEC = api.EnvSpec("Breakout-v5", (84, 84), np.dtype("uint8"), 4, 4)


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


def test_recent_games_are_the_last_hundred():
    recent = episodes.RecentGames()
    assert recent.means() == (None, None)
    for score in range(150):
        recent.add(score, 10 * score)
    assert recent.means() == (np.mean(range(50, 150)), 10 * np.mean(range(50, 150)))


def test_the_replay_fits_or_is_refused():
    config = presets.resolve("Breakout", "", {})
    free = 5_000_000_000
    largest = memory.largest_capacity(config, SPEC, free)
    assert largest % 32 == 0
    assert largest * (84 * 84 + 9) < free < (largest + 32) * (84 * 84 + 9) + 2_000_000_000
    fitted = memory.fit_replay(config, SPEC, free, chosen_by_user=False)
    assert fitted.replay_capacity == largest
    with pytest.raises(config_lib.SettingError, match=f"largest that fits is {largest}"):
        memory.fit_replay(config, SPEC, free, chosen_by_user=True)
    assert memory.fit_replay(config, SPEC, 9_000_000_000, chosen_by_user=True) is config
    with pytest.raises(config_lib.SettingError, match="largest that fits is 0"):
        memory.fit_replay(config, SPEC, 1_000_000_000, chosen_by_user=False)


def test_free_memory_is_below_what_the_machine_has():
    assert 0 < memory.free_host_bytes() < 2**50
