"""What flags of other trainers are called here."""

import re

from absl import flags

# Of CleanRL, Stable-Baselines3, Dopamine and DQN Zoo; a '-' counts as a '_'.
_NAMES = {
    "adam_epsilon": "optimizer_epsilon",
    "buffer_size": "replay_capacity",
    "end_e": "epsilon_end",
    "env_id": "env",
    "env_name": "env",
    "environment_name": "env",
    "eval_freq": "eval_every_steps",
    "exploration_final_eps": "epsilon_end",
    "exploration_initial_eps": "epsilon_start",
    "game": "env",
    "game_name": "env",
    "gamma": "discount",
    "gradient_clip": "max_grad_norm",
    "lr": "learning_rate",
    "learning_starts": "learning_starts_steps",
    "min_replay_history": "learning_starts_steps",
    "n_atoms": "num_atoms",
    "n_envs": "num_envs",
    "n_steps": "n_step",
    "policy": "network",
    "replay_size": "replay_capacity",
    "rmsprop_centered": "rmsprop_centred",
    "save_freq": "checkpoint_every_steps",
    "start_e": "epsilon_start",
    "target_network_frequency": "target_period_steps",
    "target_network_update_period": "target_period_steps",
    "target_update_interval": "target_period_steps",
    "target_update_period": "target_period_steps",
    "tau": "target_tau",
    "timesteps": "total_steps",
    "total_timesteps": "total_steps",
    "train_freq": "steps_per_update",
    "train_frequency": "steps_per_update",
    "update_horizon": "n_step",
    "update_period": "steps_per_update",
    "v_max": "value_max",
    "v_min": "value_min",
    "vmax": "value_max",
}
# What is set in another way.
_OTHERWISE = {
    "cuda": "JAX_PLATFORMS=cpu before the command keeps it off a GPU",
    "device": "JAX_PLATFORMS=cpu, cuda or tpu before the command chooses the device",
    "eps": "--epsilon_end is the share of random actions, --optimizer_epsilon the optimizer's",
    "exploration_fraction": "--epsilon_decay_steps is this share of --total_steps, in steps",
    "gradient_steps": "--steps_per_update is train_freq / gradient_steps",
    "wandb": "--track=wandb sends the metrics there",
    "wandb_project_name": "--track=wandb sends the metrics there; WANDB_PROJECT names the project",
}


def hint(flag: str) -> str:
    """What to say of a flag that this program does not have; empty if nothing is known.

    Args:
      flag: its name, without dashes in front.
    """
    name = flag.replace("-", "_")
    here = _NAMES.get(name, name if name != flag else None)
    if here and here in flags.FLAGS:
        return f"there is no flag --{flag}; --{here} sets it"
    told = _OTHERWISE.get(name, "")
    if told and all(each in flags.FLAGS for each in re.findall(r"--(\w+)", told)):
        return f"there is no flag --{flag}; {told}"
    return ""
