"""Plays with ONNX Runtime: play_onnx.py EXPORT_FOLDER NUM_GAMES SEED."""

import json
import pathlib
import sys

import envpool
import numpy as np
import onnxruntime

folder, num_games, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
policy = json.loads((folder / "policy.json").read_text())
session = onnxruntime.InferenceSession(folder / policy["policy"]["file"])
env = envpool.make_gymnasium(
    policy["env"]["id"], num_envs=num_games, seed=seed, **policy["env"]["envpool_options"]
)
observation, _ = env.reset()
shape = (num_games, *policy["policy"]["input"]["shape"][1:])
returns, playing = np.zeros(num_games), np.ones(num_games, bool)
while playing.any():  # one game each
    (q_values,) = session.run(["q_values"], {"observation": observation.reshape(shape)})
    observation, reward, terminated, truncated, _ = env.step(q_values.argmax(axis=1))
    returns += reward * playing
    playing &= ~(terminated | truncated)
print(f"{num_games} games, mean return {returns.mean():.2f}: {returns.tolist()}")
