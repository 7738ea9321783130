"""Trains the DQN of Stable-Baselines3 or SBX on an Atari game and prints its speed as JSON.

Runs in its own virtual environment, without jaxdqn; `benchmarks.peers` creates it and calls this.
"""

import argparse
import importlib
import json
import time
from typing import Any

import ale_py
import gymnasium
import peer_versions  # next to this file
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack

_PACKAGES = ("stable_baselines3", "sbx-rl", "torch", "jax", "ale-py", "gymnasium", "numpy")
_STEPS_PER_UPDATE = 4  # whatever the number of environments


class Speed(BaseCallback):
    """Counts steps from `first_step` on for so many seconds, then ends training.

    It ends after a whole number of updates with all their steps: if a peer makes few steps in these
    seconds, a part of an update's steps would distort the figure.
    """

    def __init__(self, first_step: int, seconds: float):
        super().__init__()
        self.first_step, self.seconds = first_step, seconds
        self.started_at, self.started_step = 0.0, 0
        self.steps_per_second = 0.0

    def _on_step(self) -> bool:
        if self.num_timesteps < self.first_step:
            return True
        now = time.perf_counter()
        if not self.started_at:
            self.started_at, self.started_step = now, self.num_timesteps
            self.updates = self.model._n_updates
            return True
        steps = self.num_timesteps - self.started_step
        if now - self.started_at < self.seconds or steps % _STEPS_PER_UPDATE:
            return True
        self.steps_per_second = steps / (now - self.started_at)
        samples = (self.model._n_updates - self.updates) * self.model.batch_size
        self.samples_per_step = samples / steps
        return False


def main() -> None:
    """Trains as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", choices=("stable_baselines3", "sbx"), required=True)
    parser.add_argument("--game", required=True)
    parser.add_argument("--num_envs", type=int, required=True)
    parser.add_argument("--processes", type=int, required=True, help="1: one for each environment")
    parser.add_argument("--replay_capacity", type=int, required=True)
    parser.add_argument("--learning_starts_steps", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()

    gymnasium.register_envs(ale_py)
    env = make_atari_env(
        f"{args.game}NoFrameskip-v4",
        args.num_envs,
        seed=0,
        vec_env_cls=SubprocVecEnv if args.processes else DummyVecEnv,
    )
    cadence = (
        {"train_freq": _STEPS_PER_UPDATE, "gradient_steps": 1}
        if args.num_envs == 1
        else {"train_freq": 1, "gradient_steps": args.num_envs // _STEPS_PER_UPDATE}
    )
    model = importlib.import_module(args.library).DQN(
        "CnnPolicy",
        VecFrameStack(env, 4),
        learning_rate=1e-4,
        batch_size=32,
        gamma=0.99,
        buffer_size=args.replay_capacity,
        learning_starts=args.learning_starts_steps,
        target_update_interval=1000,
        exploration_initial_eps=0.05,
        exploration_final_eps=0.05,
        optimize_memory_usage=True,
        replay_buffer_kwargs={"handle_timeout_termination": False},
        seed=0,
        # SBX would make the dense layer 256 wide; Stable-Baselines3's has 512.
        policy_kwargs={"net_arch": [512]} if args.library == "sbx" else None,
        **cadence,
    )
    speed = Speed(args.learning_starts_steps + 256, args.seconds)
    model.learn(10**9, callback=speed)
    env.close()
    figures = {
        "steps_per_second": speed.steps_per_second,
        "samples_per_step": speed.samples_per_step,
        "parameters": _num_parameters(model),
        "versions": peer_versions.of(_PACKAGES),
    }
    print(json.dumps(figures))


def _num_parameters(model: Any) -> int:
    """The number of parameters of the online network."""
    if hasattr(model.policy, "qf_state"):
        import jax

        return sum(leaf.size for leaf in jax.tree.leaves(model.policy.qf_state.params))
    return sum(parameter.numel() for parameter in model.q_net.parameters())


if __name__ == "__main__":
    main()
