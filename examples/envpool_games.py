"""Games of EnvPool for `playing.py`."""

import sys

import envpool


def make(policy, num_games, seed):
    """Games side by side; number i plays with `seed + i`."""
    wanted = policy["env"]
    options = dict(wanted["envpool_options"])
    if "stack_num" in options:
        options["stack_num"] = 1  # EnvPool stacks frames of some games; `play` stacks those of all
    if policy["settings"]["frame_skip_min"]:
        fewest, most = wanted["frames_per_step"]
        told = f"a random {fewest} to {most} frames and showed the last one; EnvPool always plays "
        told += f"{options['frame_skip']} and shows the maximum of the last two"
        print(f"note: the agent's training steps had {told}", file=sys.stderr)
    return envpool.make_gymnasium(wanted["id"], num_envs=num_games, seed=seed, **options)
