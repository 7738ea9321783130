"""Trains a peer on an Atari game for so many minutes, and prints its scores as lines of JSON.

Runs in its own virtual environment, without jaxdqn; `benchmarks.time_to_score` calls this. The
settings are those of RL Baselines3 Zoo, whose runs have 10M steps. Evaluations are off the clock:
whole games, unclipped, in environments as those of training, with 1% random actions.
"""

import argparse
import importlib
import json
import resource
import time
from typing import Any

import ale_py
import gymnasium
import peer_versions  # next to this file
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecFrameStack

_PACKAGES = ("stable_baselines3", "sb3-contrib", "torch", "ale-py", "gymnasium", "numpy")
# Library -> its class, and the zoo's settings.
_ZOO: dict[str, tuple[str, dict[str, Any]]] = {
    "stable_baselines3": (
        "DQN",
        {
            "learning_rate": 1e-4,
            "batch_size": 32,
            "buffer_size": 100_000,
            "learning_starts": 100_000,
            "target_update_interval": 1_000,
            "train_freq": 4,
            "gradient_steps": 1,
            "exploration_fraction": 0.1,
            "exploration_final_eps": 0.01,
        },
    ),
    "sb3_contrib": (
        "QRDQN",
        # Its own million steps would take 56 GB.
        {"buffer_size": 100_000, "learning_starts": 50_000, "exploration_fraction": 0.025},
    ),
}
_STEPS = 10_000_000  # of the zoo's runs
_EPSILON = 0.01  # of evaluations


class Scores(BaseCallback):
    """Evaluates every so many steps, off the clock, and ends training after so many minutes.

    Args:
      args: of the program.
      env: for evaluations.
    """

    def __init__(self, args: argparse.Namespace, env: Any):
        super().__init__()
        self.args, self.off_clock, self._env = args, 0.0, env
        self.scored_step = -1
        self.learning: dict[str, float] | None = None  # step and time_s when it had begun

    def _on_step(self) -> bool:
        minutes = self.minutes()
        if self.learning is None and self.num_timesteps > self.model.learning_starts:
            self.learning = {"step": self.num_timesteps, "time_s": 60 * minutes}
        is_over = minutes >= self.args.minutes
        if is_over or self.num_timesteps % self.args.every == 0:
            self._evaluate(minutes)
        return not is_over

    def _on_training_end(self) -> None:
        if self.scored_step != self.num_timesteps:
            self._evaluate(self.minutes())

    def _evaluate(self, minutes: float) -> None:
        began = time.time()
        explores = self.model.exploration_rate
        self.model.exploration_rate = _EPSILON
        mean, _ = evaluate_policy(
            self.model, self._env, self.args.episodes, deterministic=False, warn=False
        )
        self.model.exploration_rate = explores
        self.off_clock += time.time() - began
        self.scored_step = self.num_timesteps
        print(json.dumps({"point": [minutes, self.num_timesteps, float(mean)]}), flush=True)

    def minutes(self) -> float:
        """Minutes of training so far, with the start-up."""
        return (time.time() - self.args.began - self.off_clock) / 60


def main() -> None:
    """Trains as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", choices=list(_ZOO), required=True)
    parser.add_argument("--game", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--began", type=float, required=True, help="time() of the start")
    parser.add_argument("--steps", type=int, required=True, help="of the schedules")
    parser.add_argument("--every", type=int, required=True, help="steps between evaluations")
    parser.add_argument("--episodes", type=int, required=True, help="games of an evaluation")
    args = parser.parse_args()

    gymnasium.register_envs(ale_py)
    name = f"{args.game}NoFrameskip-v4"
    env = VecFrameStack(make_atari_env(name, 1, seed=args.seed), 4)
    # FIRE is pressed after each lost life, as in training; returns are those below the wrappers.
    scored = make_atari_env(name, 8, seed=10_000 + args.seed)
    kind, settings = _ZOO[args.library]
    share = min(1.0, args.steps / _STEPS)
    settings = {**settings, "learning_starts": round(settings["learning_starts"] * share)}
    model = getattr(importlib.import_module(args.library), kind)(
        "CnnPolicy", env, seed=args.seed, **settings
    )
    scores = Scores(args, VecFrameStack(scored, 4))
    model.learn(args.steps, callback=scores)
    learned = model.num_timesteps - model.learning_starts
    row = {
        "step": model.num_timesteps,
        "time_s": 60 * scores.minutes(),
        "samples_per_step": model._n_updates * model.batch_size / learned if learned > 0 else 0,
        "memory_used_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    told = {"learning": scores.learning, "settings": {"total_steps": args.steps, **settings}}
    print(json.dumps({"row": row, **told, "versions": peer_versions.of(_PACKAGES)}))


if __name__ == "__main__":
    main()
