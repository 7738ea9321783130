import dataclasses

import pytest

from jaxdqn import errors
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import presets

PQN = {"algorithm": "pqn"}
WRONG = [
    ({"total_steps": 0}, "total_steps", "at least 1"),
    ({"num_envs": 0}, "num_envs", "at least 1"),
    ({"part_options": ("x=1",)}, "part_options", "have no options"),
    ({"seed": -1}, "seed", "at least 0"),
    ({"seed": 2**31}, "seed", "below"),
    ({"discount": 1.5}, "discount", "between 0 and 1"),
    ({"epsilon_end": -0.1}, "epsilon_end", "between 0 and 1"),
    ({"learning_rate": 0.0}, "learning_rate", "above 0"),
    ({"learning_rate": float("nan")}, "learning_rate", "above 0"),
    ({"learning_rate_end": -1.0}, "learning_rate_end", "at least 0"),
    ({"target_tau": 0.0}, "target_tau", "above 0"),
    ({"target_tau": 1.1}, "target_tau", "at most 1"),
    ({"loss": "l1"}, "loss", "huber, mse"),
    ({"loss": "mse", "head": "c51"}, "loss", "no effect with --head=c51"),
    ({"num_atoms": 5}, "num_atoms", "no effect with --head=scalar"),
    ({"head": "c51", "num_atoms": 1}, "num_atoms", "at least 2"),
    ({"head": "c51", "value_min": 10.0}, "value_min", "below --value_max=10"),
    ({"head": "c51", "value_max": 1e300}, "value_max", "between -1e6 and 1e6"),
    ({"head": "hl_gauss", "value_min": 99_999.0, "value_max": 1e5}, "num_atoms", "0.0196"),
    ({"head": "hl_gauss", "gauss_width": 1e9}, "gauss_width", "between 0.01 and 100"),
    ({"head": "qr", "num_quantiles": 0}, "num_quantiles", "at least 1"),
    ({"head": "qr", "algorithm": "sweep"}, "head", "must be scalar"),
    ({"head": "c51", "algorithm": "munchausen"}, "head", "one of scalar, hl_gauss, qr, iqn"),
    ({"algorithm": "munchausen", "double_q": True}, "double_q", "--algorithm=munchausen"),
    ({"policy_temperature": 0.1}, "policy_temperature", "no effect with --algorithm=dqn"),
    ({"algorithm": "munchausen", "bonus_min": 0.5}, "bonus_min", "between -1e6 and 0"),
    ({"noisy_sigma": 0.1}, "noisy_sigma", "no effect with --noisy=False"),
    ({"rollout_steps": 8}, "rollout_steps", "no effect with --algorithm=dqn"),
    ({**PQN, "sampler": "uniform"}, "sampler", "no effect with --algorithm=pqn"),
    (
        {**PQN, "learning_starts_steps": 64},
        "learning_starts_steps",
        "no effect with --algorithm=pqn",
    ),
    ({**PQN, "target_tau": 0.5}, "target_tau", "no effect with --algorithm=pqn"),
    ({**PQN, "n_step": 2}, "n_step", "must be 1 for pqn"),
    ({**PQN, "batch_size": 100}, "batch_size", "must divide the 1024 steps"),
    ({**PQN, "replay_capacity": 1_024}, "replay_capacity", "needs 1152"),
    ({"priority_exponent": 0.5}, "priority_exponent", "no effect with --sampler=uniform"),
    ({"sampler": "prioritized", "terminal_repeats": 2}, "terminal_repeats", "prioritized"),
    ({"pooled_size": 6}, "pooled_size", "no effect with --network="),
    ({"layer_norm": "batch"}, "layer_norm", "one of none, channels, maps"),
    ({"optimizer": "sgd"}, "optimizer", "adam, radam, rmsprop"),
    ({"network": "resnet"}, "network", "nature, small, conv, impala, hadamax, mlp"),
    ({"noop_max": 0}, "noop_max", "at least 1"),
    ({"hidden_sizes": (256, 0)}, "hidden_sizes", "each must be at least 1"),
    ({"batch_size": 2_000_000}, "batch_size", "more than the replay holds"),
    ({"replay_capacity": 1_000_001}, "replay_capacity", "nearest: 1000000 or 1000032"),
    ({"replay_capacity": 32}, "replay_capacity", "at least 192"),
    ({"learning_starts_steps": 3}, "learning_starts_steps", "at least 192"),
    ({"replay_capacity": 3200}, "learning_starts_steps", "more than the replay holds"),
    ({"updates_per_slice": 2, "total_steps": 20_003}, "total_steps", "is due at step 20004"),
    ({"updates_per_slice": 2, "total_steps": 20_007}, "updates_per_slice", "run has 1 updates"),
    # What devices and emulators would count beyond int32.
    ({"total_steps": 10**16}, "total_steps", r"at most 10\*\*15"),
    ({"total_steps": 2**33 + 20_000}, "total_steps", "2,147,483,648 updates; must be below"),
    ({**PQN, "batch_size": 8, "total_steps": 2**32}, "total_steps", "2,147,483,648 updates; must"),
    ({"total_steps": 2**36, "steps_per_update": 64}, "total_steps", "of the replay; must be below"),
    (
        {"learning_rate_end": 0.0, "learning_rate_decay_steps": 2**33},
        "learning_rate_decay_steps",
        "2,147,483,648 updates; must be below",
    ),
    ({"target_period_updates": 2**31}, "target_period_updates", r"below 2\*\*31"),
    ({"updates_per_slice": 2**31}, "updates_per_slice", r"below 2\*\*31"),
    ({"max_episode_steps": 2**31}, "max_episode_steps", r"below 2\*\*31"),
    ({"frame_skip": 2**31}, "frame_skip", r"below 2\*\*31"),
    ({"n_step": 2**31}, "n_step", r"below 2\*\*31"),
    ({"env_threads": 10**6}, "env_threads", "at most 1,024"),
    ({"num_envs": 2**16 + 1}, "num_envs", "at most 65,536"),
    ({"held_out_observations": 10**9}, "held_out_observations", "at most 65,536"),
    ({"eval_every_steps": 10**16}, "eval_every_steps", r"at most 10\*\*15"),
]


@pytest.mark.parametrize(("changes", "setting", "message"), WRONG, ids=str)
def test_wrong_settings_are_refused_by_name(changes, setting, message):
    if setting != "batch_size" and "replay_capacity" in changes:
        changes = {"batch_size": 1, **changes}
    with pytest.raises(errors.SettingError, match=message) as caught:
        presets.resolve("Breakout", "atari", changes)
    assert caught.value.setting == setting
    assert str(caught.value).startswith(f"--{setting}: ")
    assert "\n" not in str(caught.value)


def test_slices_of_a_preset_count_only_where_they_are_read():
    config = presets.resolve("CartPole", "cartpole", {**PQN, "n_step": 1, "total_steps": 200})
    assert config.updates_per_slice > 1 and not config.learns_by_updates


def test_presets_then_changes():
    config = presets.resolve("Breakout", "", {"n_step": 3})
    assert (config.env, config.preset) == ("Breakout-v5", "laptop")
    assert (config.n_step, config.batch_size, config.steps_per_update) == (3, 32, 8)
    assert presets.resolve("CartPole", "", {}).preset == "cartpole"
    assert presets.resolve("Acrobot", "", {}).preset == "classic"
    with pytest.raises(errors.SettingError, match="atari, atari_fast, atari_gpu, btr, btr_sticky"):
        presets.resolve("Breakout", "nothing", {})


@pytest.mark.parametrize(
    ("env", "preset", "reason"),
    [
        ("Pong", "", "default for Atari games"),
        ("Pong", "c51", ""),
        ("CartPole", "", "default for CartPole"),
        ("CartPole", "classic", ""),
        ("Acrobot", "classic", "default for other games"),
    ],
)
def test_a_run_knows_why_it_has_its_preset(env, preset, reason):
    assert presets.reason(presets.resolve(env, preset, {})) == reason


@pytest.mark.parametrize(
    ("preset", "on_cpu", "better"),
    [
        ("laptop", True, ""),
        ("laptop", False, "atari_fast"),
        ("atari", True, "laptop"),
        ("atari_gpu", True, "laptop"),
        ("atari_fast", False, ""),
        ("c51", True, ""),
    ],
)
def test_a_preset_for_other_hardware_is_told(preset, on_cpu, better):
    advice = presets.advice(presets.resolve("Pong", preset, {}), on_cpu)
    assert better in advice and bool(better) == bool(advice)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_presets_hold_only_settings(name):
    fields = {field.name for field in dataclasses.fields(config_lib.Config)}
    assert set(presets.PRESETS[name].settings) <= fields
    assert presets.PRESETS[name].expected


def test_every_setting_has_help():
    for field in dataclasses.fields(config_lib.Config):
        assert field.metadata["setting"].help, field.name


def test_groups_and_slices():
    config = presets.resolve("Breakout", "atari", {})
    assert (config.num_groups, config.group_size, config.slice_updates) == (2, 16, 4)
    single = presets.resolve("Breakout", "atari", {"num_envs": 1})
    assert (single.num_groups, single.group_size, single.slice_updates) == (1, 1, 1)
