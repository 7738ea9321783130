"""Trains the DQN of Stable-Baselines3 on a classic game until it has learned it.

Runs in its own virtual environment, without jaxdqn; `benchmarks.classic` calls this. The settings
are those of RL Baselines3 Zoo.
"""

import argparse
import json
import time
from typing import Any

import gymnasium
import peer_versions  # next to this file
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

_COMMON = {"learning_starts": 1_000, "policy_kwargs": {"net_arch": [256, 256]}}
_ZOO: dict[str, dict[str, Any]] = {
    "CartPole-v1": {
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "gamma": 0.99,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04,
        **_COMMON,
    },
    "MountainCar-v0": {
        "learning_rate": 4e-3,
        "batch_size": 128,
        "buffer_size": 10_000,
        "gamma": 0.98,
        "target_update_interval": 600,
        "train_freq": 16,
        "gradient_steps": 8,
        "exploration_fraction": 0.2,
        "exploration_final_eps": 0.07,
        **_COMMON,
    },
}


class Evaluations(BaseCallback):
    """Evaluates now and then, off the clock, and ends training when the game is learned.

    Args:
      args: of the program.
    """

    def __init__(self, args: argparse.Namespace):
        super().__init__()
        self.args, self.off_clock, self.means = args, 0.0, list[tuple[int, float]]()
        self.seconds: float | None = None  # until the game was learned
        self._env = DummyVecEnv([lambda: gymnasium.make(args.game)] * 10)
        self._env.seed(10_000 + args.seed)

    def _on_step(self) -> bool:
        if self.num_timesteps % self.args.every:
            return True
        now = time.time()
        mean, _ = evaluate_policy(
            self.model, self._env, n_eval_episodes=self.args.episodes, warn=False
        )
        self.means.append((self.num_timesteps, float(mean)))
        if mean >= self.args.goal:
            self.seconds = now - self.args.began - self.off_clock
            return False
        self.off_clock += time.time() - now
        return True


def main() -> None:
    """Trains as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--game", choices=list(_ZOO), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--goal", type=float, required=True)
    parser.add_argument("--began", type=float, required=True, help="time() of the start")
    parser.add_argument("--steps", type=int, required=True, help="the most steps")
    parser.add_argument("--every", type=int, default=5_000, help="steps between evaluations")
    parser.add_argument("--episodes", type=int, default=100, help="games of an evaluation")
    args = parser.parse_args()

    env = gymnasium.make(args.game)
    model = DQN("MlpPolicy", env, seed=args.seed, **_ZOO[args.game])
    evaluations = Evaluations(args)
    model.learn(args.steps, callback=evaluations)
    names = ("stable_baselines3", "torch", "gymnasium", "numpy")
    versions = peer_versions.of(names)
    figures = {"seconds": evaluations.seconds, "evaluations": evaluations.means}
    print(json.dumps({**figures, "versions": versions}))


if __name__ == "__main__":
    main()
