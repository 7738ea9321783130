"""Shared code of the examples: plays whole games with an exported network.

Each example gives `main` a function that loads its format.
"""

import json
import pathlib
import sys
import warnings

try:
    import gymnasium_games
    import numpy as np
except ImportError as error:
    print(f"error: a package is missing: {error}", file=sys.stderr)
    sys.exit(2)

warnings.filterwarnings("ignore", module="gymnasium")  # about bounds that EnvPool gives as float64
sys.path.append("")  # where an environment of one's own may be


def main(kind, load):
    """Plays the games that the command line asks for and prints the returns.

    Args:
      kind: the format, such as "onnx". An agent of somebody's own environment needs the module that
        registers it as a fourth word: what an export names is not imported by itself.
      load: takes an exported file and the content of policy.json, and returns the network: a
        function that takes observations [B, S, ...] and returns action values [B, A].
    """
    *words, module = sys.argv if len(sys.argv) == 5 else (*sys.argv, "gymnasium")
    is_module = all(map(str.isidentifier, module.split(".")))
    if len(words) != 4 or not is_module or not all(map(str.isdecimal, words[2:])):
        refuse(f"usage: {pathlib.Path(sys.argv[0]).name} EXPORT_FOLDER NUM_GAMES SEED [MODULE]")
    folder, num_games, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if num_games < 1 or seed + num_games > 2**31:
        refuse("NUM_GAMES must be at least 1, and SEED + NUM_GAMES at most 2**31")
    try:
        policy = json.loads((folder / "policy.json").read_text())
        exported, version = policy["policy"]["kind"], policy["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        refuse(f"{folder} is not an export: {error}")
    if (exported, version) != (kind, 1):
        refuse(f"{folder} holds {exported}, version {version}; this script plays {kind}, version 1")
    try:
        network = load(folder / policy["policy"]["file"], policy)
        env = make_env(policy, num_games, seed, module)
    except ImportError as error:
        refuse(f"a package is missing: {error}")
    except Exception as error:  # every library has its own kinds
        refuse(f"{folder} cannot be played: {error}")
    returns = play(network, env, policy, num_games)
    print(f"{num_games} games, mean return {returns.mean():.2f}: {returns.tolist()}")


def refuse(problem):
    """Exits with one line."""
    print("error:", *str(problem).split(), file=sys.stderr)
    sys.exit(2)


def make_env(policy, num_games, seed, module):
    """Starts one environment for each game; number i plays with seed + i."""
    wanted = policy["env"]
    if wanted["source"] == "Gymnasium":
        needed, _, name = wanted["id"].partition(":")
        if ":" in name:  # Gymnasium would import what stands before it
            refuse(f"{wanted['id']} is not a game")
        if needed not in ("gymnasium", module):
            refuse(f"the game needs code of the module {needed}; add this name to the command line")
        env_id = name if needed == "gymnasium" else wanted["id"]
        options, settings = wanted["gymnasium_options"], policy["settings"]
        return gymnasium_games.Games(env_id, options, settings, num_games, seed)
    if wanted["source"] == "ALE":
        import ale_games

        return ale_games.Games(wanted["ale_options"], num_games, seed)
    import envpool_games

    return envpool_games.make(policy, num_games, seed)


def play(network, env, policy, num_games):
    """Plays one whole game in each environment; returns the returns [N]."""
    _, frame_stack, *shape = policy["policy"]["input"]["shape"]
    motion = Motion() if policy["settings"]["motion_trace"] else None
    if motion:
        shape = shape[1:]  # of a frame without its trace

    def see(observation):
        """The newest frames as the network sees them, [N, 1, ...]."""
        frame = observation.reshape(num_games, *shape)
        return (motion.add(frame) if motion else frame)[:, np.newaxis]

    observation, _ = env.reset()
    stack = see(observation).repeat(frame_stack, axis=1)  # the first frame fills the whole stack
    returns, playing = np.zeros(num_games), np.ones(num_games, bool)
    while playing.any():
        observation, reward, terminated, truncated, _ = env.step(network(stack).argmax(axis=1))
        stack = np.concatenate([stack[:, 1:], see(observation)], axis=1)
        returns += reward * playing  # games that have ended restart, and no longer count
        playing &= ~(terminated | truncated)
    return returns


class Motion:
    """A fading trace of what moved, for each frame."""

    def __init__(self):
        self.last = None  # [N, H, W], the previous frames
        self.trace = 0.0  # [N, H, W] in 0 to 255

    def add(self, frame):
        """Adds frames [N, H, W] of bytes; returns them with their traces, [N, 2, H, W]."""
        frame = frame.astype(np.float32)
        last = frame if self.last is None else self.last  # nothing moves in the first frame
        moved = np.where(np.abs(frame - last) > 20, np.float32(255), np.float32(0))
        self.trace = np.clip(moved + np.float32(0.75) * self.trace, 0, 255)
        self.last = frame
        return np.stack([frame, self.trace], axis=1).astype(np.uint8)
