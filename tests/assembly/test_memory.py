import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.assembly import memory
from jaxdqn.envs import api
from jaxdqn.settings import presets

SPEC = api.EnvSpec("Breakout-v5", (84, 84), np.dtype("uint8"), 4, 4)


def fit(config, free_bytes, *, chosen_by_user, working_bytes=lambda _: 0):
    return memory.fit_replay(config, SPEC, free_bytes, chosen_by_user, working_bytes)


@pytest.mark.parametrize(("checkpoint_replay", "copies"), [(True, 0.125), (False, 0)])
def test_the_replay_fits_or_is_refused(checkpoint_replay, copies):
    config = presets.resolve("Breakout", "atari", {"checkpoint_replay": checkpoint_replay})
    free = 5_000_000_000
    largest = memory.largest_capacity(config, SPEC, free)
    assert largest % 32 == 0
    step = (84 * 84 + 9) * (1 + copies)
    assert largest * step < free < (largest + 32) * step + 2_000_000_000
    fitted = fit(config, free, chosen_by_user=False)
    assert 0.8 * largest < fitted.replay_capacity < largest
    assert fit(config, free + 5_000_000, chosen_by_user=False) == fitted  # on another machine
    # A run that goes on with less memory free asks for what it had.
    assert fit(fitted, free - 400_000_000, chosen_by_user=True) is fitted
    with pytest.raises(errors.SettingError, match=f"largest that fits is {largest}"):
        fit(config, free, chosen_by_user=True)
    assert fit(config, 10_000_000_000, chosen_by_user=True) is config
    with pytest.raises(errors.SettingError, match="largest that fits is 0"):
        fit(config, 1_000_000_000, chosen_by_user=False)


def test_the_compiler_is_asked_where_memory_is_short():
    config = presets.resolve("Breakout", "atari", {"checkpoint_replay": False})
    replay = memory.replay_bytes(config, SPEC)
    asked = []

    def working_bytes(config):
        asked.append(config.replay_capacity)
        return 600_000_000

    assert fit(config, 20_000_000_000, chosen_by_user=True, working_bytes=working_bytes) is config
    assert not asked
    free = replay + 1_900_000_000
    assert fit(config, free, chosen_by_user=True, working_bytes=working_bytes) is config
    assert asked == [config.replay_capacity]
    free = replay + 1_700_000_000
    largest = memory.largest_capacity(config, SPEC, free - 600_000_000)
    assert largest < config.replay_capacity
    with pytest.raises(errors.SettingError, match=rf"needs 1.8 GB; .* fits is {largest}") as caught:
        fit(config, free, chosen_by_user=True, working_bytes=working_bytes)
    assert caught.value.setting == "replay_capacity"
    fitted = fit(config, free, chosen_by_user=False, working_bytes=working_bytes)
    assert 0.89 * largest < fitted.replay_capacity < largest
    # Nothing of a replay that does not fit is compiled.
    assert max(asked) == config.replay_capacity
    fit(config, 4_000_000_000, chosen_by_user=False, working_bytes=working_bytes)
    assert memory.replay_bytes(config, SPEC) > 4_000_000_000 > asked[-1] * 84 * 84


def test_a_batch_that_leaves_no_room_is_refused():
    config = presets.resolve("Breakout", "atari", {})
    with pytest.raises(errors.SettingError, match=r"need 4.50 GB besides .* 5.00 GB") as caught:
        fit(config, 5_000_000_000, chosen_by_user=False, working_bytes=lambda _: 4_500_000_000)
    assert caught.value.setting == "batch_size"


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"hidden_sizes": (20_000, 20_000)}, "hidden_sizes"),
        ({"hidden_sizes": (2**31 - 1, 2**31 - 1)}, "hidden_sizes"),
        ({"batch_size": 200_000, "learning_starts_steps": 200_000}, "batch_size"),
    ],
)
def test_networks_and_batches_that_do_not_fit_are_refused(changes, setting):
    config = presets.resolve("Breakout", "atari", changes)
    with pytest.raises(errors.SettingError, match=r"; 5.00 GB are free") as caught:
        memory.check_network(config, SPEC, 5_000_000_000)
    assert caught.value.setting == setting
    memory.check_network(presets.resolve("Breakout", "atari", {}), SPEC, 200_000_000)


def control_groups(root, lines, files):
    files = {"proc/self/cgroup": lines} | {f"sys/fs/cgroup/{n}": t for n, t in files.items()}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def test_limits_of_nested_control_groups(tmp_path):
    files = {
        "job/memory.max": "2000000",
        "job/memory.current": "1500000",
        "job/memory.stat": "anon 900000\ninactive_file 400000\n",
        "job/step/memory.max": "max",
        "job/step/memory.current": "1000000",
        "job/step/memory.stat": "inactive_file 1\n",
    }
    control_groups(tmp_path, "0::/job/step\n", files)
    assert memory.free_host_bytes(tmp_path) == 2_000_000 - 1_500_000 + 400_000
    assert memory.total_host_bytes(tmp_path) == 2_000_000


def test_limits_of_the_first_version_of_control_groups(tmp_path):
    files = {
        "memory/a/memory.limit_in_bytes": "3000000",
        "memory/a/memory.usage_in_bytes": "2500000",
        "memory/a/memory.stat": "total_inactive_file 100000\n",
    }
    control_groups(tmp_path, "4:cpu,cpuacct:/a\n3:memory:/a\n", files)
    assert memory.free_host_bytes(tmp_path) == 600_000
    assert memory.total_host_bytes(tmp_path) == 3_000_000


def test_without_control_groups_the_machine_is_the_limit(tmp_path):
    free, total = memory.free_host_bytes(tmp_path), memory.total_host_bytes(tmp_path)
    assert 10_000_000 < free < total < 2**50
