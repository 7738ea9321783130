"""What `benchmarks/peer_dqn.py` needs of its libraries: a trivial loop with a clock of its own.

A copy stands for each of the packages; see `test_benchmarks.make_peers`. A step takes as long as
the arrangement of the environments says, so every figure is known beforehand.
"""

import sys
import time
import types

# Steps/s by environments and whether they are in processes. Powers of two leave times exact; with
# one environment a second ends in the middle of the steps of an update.
SPEEDS = {(1, False): 49, (8, False): 32, (16, False): 128, (32, False): 512}
SPEEDS |= {(16, True): 64, (32, True): 64}
# Steps after which the updates that are due are made, where not after each step.
LUMPS = {(16, False): 256, (32, False): 10**9} if __name__ == "stable_baselines3" else {}

for part in ("common", "common.callbacks", "common.env_util", "common.vec_env"):
    sys.modules[f"{__name__}.{part}"] = sys.modules[__name__]


def register_envs(module):
    assert module.__name__ == "ale_py"


class BaseCallback:
    pass


class DummyVecEnv:
    pass


class SubprocVecEnv:
    pass


def make_atari_env(name, n_envs, seed, vec_env_cls):
    assert name == "BreakoutNoFrameskip-v4"
    arrangement = (n_envs, vec_env_cls is SubprocVecEnv)
    if arrangement not in SPEEDS:
        raise OSError("no room for so many processes")
    return types.SimpleNamespace(arrangement=arrangement, close=lambda: None)


def VecFrameStack(env, depth):  # noqa: N802
    assert depth == 4
    return env


class DQN:
    policy = None

    def __init__(
        self, policy, env, *, batch_size, learning_starts, train_freq, gradient_steps, **_
    ):
        self.batch_size, self._n_updates = batch_size, 0
        self.arrangement, self.learning_starts = env.arrangement, learning_starts
        self.train_freq, self.gradient_steps = train_freq, gradient_steps
        self.q_net = types.SimpleNamespace(parameters=self.parameters)

    def parameters(self):
        return [types.SimpleNamespace(numel=lambda: 1_686_180)]

    def learn(self, total_timesteps, callback):
        if __name__ == "sbx" and callback.seconds > 1:
            raise RuntimeError("sbx stops here, as the rounds begin")
        steps, due = 0, 0
        time.perf_counter = lambda: 1.0 + steps / SPEEDS[self.arrangement]
        callback.model = self
        while steps < total_timesteps:
            for _ in range(self.train_freq):
                steps += self.arrangement[0]
                callback.num_timesteps = steps
                if not callback._on_step():
                    return
            if steps > self.learning_starts:
                due += self.gradient_steps
            if steps % LUMPS.get(self.arrangement, 1) == 0:
                self._n_updates, due = self._n_updates + due, 0
