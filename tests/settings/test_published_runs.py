"""Every preset of a published agent trains, saves and is exported, with its own network."""

import jax
import pytest
import safetensors.numpy

from jaxdqn.exporting import export, formats
from jaxdqn.rundir import trained_agent
from jaxdqn.settings import presets, published
from tests import program

SMALL = {
    "img_height": 40,
    "img_width": 40,
    "total_steps": 512,
    "num_envs": 8,
    "batch_size": 4,
    "steps_per_update": 4,
    "replay_capacity": 800,
    "learning_starts_steps": 256,
    "log_every_steps": 128,
    "eval_every_steps": 0,
    "eval_episodes": 1,
    "max_episode_steps": 40,
    "checkpoint_every_steps": 0,
    "hidden_sizes": 16,
    "held_out_observations": 0,
    "impala_width": 1,
    "rollout_steps": 8,
}
FORMATS = ("safetensors", "stablehlo", "onnx")


@pytest.mark.parametrize("name", published.AGENTS)
def test_a_preset_trains_and_is_exported(tmp_path, name):
    config = presets.resolve("Breakout", name, {})
    changes = {setting: x for setting, x in SMALL.items() if not config.why_unread(setting)}
    if not config.learns_by_updates:
        del changes["replay_capacity"]
        changes["total_steps"] = 192  # two rollouts
    if config.network in ("impala", "hadamax"):  # which convolve whole frames
        changes |= {"img_height": 20, "img_width": 20}
    flags = [f"--{setting}={value}" for setting, value in changes.items()]
    result = program.train(
        "--env=Breakout", f"--preset={name}", f"--run_dir={tmp_path / 'run'}", *flags
    )
    assert result.returncode == 0, result.stderr
    training, evaluations = program.rows(tmp_path / "run")
    assert training[-1]["updates"] >= 64 and training[-1]["refused_updates"] == 0
    assert training[-1]["loss"] > 0 and len(evaluations) == 1
    agent = trained_agent.load(tmp_path / "run", "latest")
    kind = FORMATS[list(published.AGENTS).index(name) % len(FORMATS)]
    check = export.export(agent, kind, tmp_path / "out", num_frames=32)
    assert check.largest_difference <= check.tolerance
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"algorithm {config.algorithm}" in card and f"head {config.head}" in card
    for setting in ("num_atoms", "num_quantiles", "priority_exponent", "bonus_factor"):
        assert (f"| {setting} |" in card) == (not config.why_unread(setting))
    if config.spectral_norm:  # its vectors have the names of the kernels
        written, file = formats.FORMATS["safetensors"], tmp_path / "parameters"
        written.write(agent, file)
        written.load(agent, file)  # finds each by its name
        assert len(safetensors.numpy.load_file(file)) == len(jax.tree.leaves(agent.params))
