"""Plays from the parameters alone: play_safetensors.py EXPORT_FOLDER NUM_GAMES SEED."""

import json
import pathlib
import sys

import envpool
import jax
import numpy as np
import safetensors.numpy

folder, num_games, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
policy = json.loads((folder / "policy.json").read_text())
weights = safetensors.numpy.load_file(folder / policy["policy"]["file"])


@jax.jit
def network(x):
    """The network of Mnih et al. (2015): [B, 4, 84, 84] bytes -> action values [B, A]."""
    x = x / 255.0
    for i, (stride, layout) in enumerate(((4, "NCHW"), (2, "NHWC"), (1, "NHWC"))):
        kernel, layouts = weights[f"torso/conv_{i}_kernel"], (layout, "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, "VALID", None, None, layouts)
        x = jax.nn.relu(x + weights[f"torso/conv_{i}_bias"])
    x = x.reshape(len(x), -1) @ weights["Dense_0/kernel"] + weights["Dense_0/bias"]
    return jax.nn.relu(x) @ weights["Dense_1/kernel"] + weights["Dense_1/bias"]


env = envpool.make_gymnasium(
    policy["env"]["id"], num_envs=num_games, seed=seed, **policy["env"]["envpool_options"]
)
observation, _ = env.reset()
returns, playing = np.zeros(num_games), np.ones(num_games, bool)
while playing.any():  # one game each
    q_values = np.asarray(network(observation))
    observation, reward, terminated, truncated, _ = env.step(q_values.argmax(axis=1))
    returns += reward * playing
    playing &= ~(terminated | truncated)
print(f"{num_games} games, mean return {returns.mean():.2f}: {returns.tolist()}")
