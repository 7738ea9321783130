"""Exports an agent as a folder: the network, what it needs to run without jaxdqn, a model card."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdqn import errors
from jaxdqn.assembly import parts
from jaxdqn.envs import api, registry, scores
from jaxdqn.exporting import formats, model_card
from jaxdqn.playing import moments as moments_lib
from jaxdqn.rundir import agent_names, exported_agent, provenance, trained_agent
from jaxdqn.settings import config as config_lib
from jaxdqn.storage import atomic_files

_STRIDE = 4  # steps of play from one frame on which a file is compared to the next
# Relative to the largest action value; more than float32 loses by another order of summation.
_TOLERANCE = 2e-5

_MOTION = [
    "give each frame a second channel, the trace of what moved: 0.75 times the previous trace plus "
    "255 where the frame differs from the last by more than 20, at most 255; 0 as a game begins",
]


class Check(NamedTuple):
    """The result of comparing a file with the network."""

    frames: int
    equal_actions: int  # out of so many frames
    largest_difference: float  # of action values
    tolerance: float
    largest_q_value: float


def export(
    agent: trained_agent.SavedAgent, format_name: str, out: pathlib.Path, *, num_frames: int = 256
) -> Check:
    """Writes a folder, whole or not at all, after running it and comparing it with the network.

    Args:
      agent: what is exported.
      format_name: a name in `formats.FORMATS`.
      out: the folder; it gives way if it is an export itself.
      num_frames: real ones, on which the file is compared with the network.

    Raises:
      RunError: it cannot be written, a package is missing, or the file and the network disagree.
    """
    chosen = formats.FORMATS[format_name]
    with atomic_files.whole_folder(out) as part:
        file = part / f"policy{chosen.suffix}"
        # Full float32, on accelerators too, where products have fewer digits by default.
        with jax.default_matmul_precision("highest"):
            chosen.write(agent, file)
            check = _compare(agent, chosen.load(agent, file), num_frames)
        described = describe(agent, format_name, file.name, check)
        (part / exported_agent.POLICY_FILE).write_text(json.dumps(described, indent=2) + "\n")
        (part / "README.md").write_text(model_card.write(described))
    return check


def may_be_replaced(path: pathlib.Path, more: Sequence[str] = ()) -> bool:
    """Whether a folder holds only an export, and files named `more`."""
    ours = {
        *more,
        exported_agent.POLICY_FILE,
        "README.md",
        *(f"policy{one.suffix}" for one in formats.FORMATS.values()),
    }
    try:
        holds_more = not {part.name for part in path.iterdir()} <= ours
    except OSError:
        return False
    return exported_agent.is_export(path) and not holds_more


def _compare(agent: trained_agent.SavedAgent, q_values: formats.QValues, num_frames: int) -> Check:
    """Runs a file and the network on frames of play.

    Raises:
      RunError: they disagree.
    """
    moments = moments_lib.play(
        agent.config, agent.spec, agent.params, seed=0, num_episodes=10**9, with_screen=False
    )
    seen = itertools.islice(moments, 0, num_frames * _STRIDE, _STRIDE)
    stacks = np.stack([moment.stack for moment in seen])
    moments.close()
    q_values_of = jax.jit(formats.network(agent).q_values)
    expected = np.asarray(q_values_of(agent.params, jax.device_put(stacks)))
    if not np.isfinite(expected).all():
        raise errors.RunError("the network's action values for real frames are not finite")
    found = q_values(stacks)
    if found.shape != expected.shape or not np.isfinite(found).all():
        raise errors.RunError("the exported file gives no action values for real frames")
    largest = float(np.abs(expected).max())
    tolerance = _TOLERANCE * max(1.0, largest)
    difference = float(np.abs(found - expected).max())
    equal = found.argmax(axis=1) == expected.argmax(axis=1)
    best_two = np.sort(expected, axis=1)[:, -2:]
    # If the best two values are closer than that, either action is right.
    decided = np.ptp(best_two, axis=1) > tolerance
    if difference > tolerance or not equal[decided].all():
        raise errors.RunError(
            f"the exported file disagrees with the network: action values differ by up to "
            f"{difference:.2g} ({tolerance:.2g} allowed); actions differ on {(~equal).sum()} of "
            f"{len(stacks)} frames"
        )
    # Also with a single frame: the batch size is free.
    if np.abs(q_values(stacks[:1]) - expected[:1]).max() > tolerance:
        raise errors.RunError("the exported file gives other values for one frame than for many")
    return Check(len(stacks), int(equal.sum()), difference, tolerance, largest)


def describe(
    agent: trained_agent.SavedAgent, format_name: str, file: str, check: Check
) -> dict[str, Any]:
    """What is needed to run the file without this package, as a JSON object."""
    config, spec = agent.config, agent.spec
    game = spec.game
    return {
        "format": exported_agent.FORMAT,
        "format_version": exported_agent.VERSION,
        "policy": {
            "kind": format_name,
            "file": file,
            "input": {
                "name": "observation",
                "shape": ["batch", config.frame_stack, *parts.seen_shape(config, spec)],
                "dtype": spec.frame_dtype.name,
                "meaning": "the newest frames, oldest first",
            },
            "output": {
                "name": "q_values",
                "shape": ["batch", spec.num_actions],
                "dtype": "float32",
                "meaning": "action values; the policy takes the action with the largest",
            },
            "network": config.network,
            "hidden_sizes": list(config.hidden_sizes),
        },
        "actions": list(spec.actions),
        "env": {
            "source": game.source,
            "id": spec.env_id,
            "game": spec.env_id.partition(":")[2] or game.plain_name,
            model_card.options_key(game.source): registry.export_options(
                spec.env_id,
                registry.limited(spec.env_id, config.env_options),  # for those who play whole games
                config.frame_stack,
            ),
            # EnvPool alone cannot play steps of random length; its options are the nearest.
            "frames_per_step": _frames_per_step(config, spec),
        },
        "preprocessing": _preprocessing(agent),
        "checkpoint": agent.step,
        "frames": agent.step * spec.frame_skip,
        "scores": _scores(agent),
        "check": check._asdict(),
        "settings": dataclasses.asdict(config)
        | {"initial_agent": agent_names.portable(config.initial_agent)},
        "versions": provenance.versions(),
    }


def _scores(agent: trained_agent.SavedAgent) -> dict[str, Any] | None:
    """The run's own evaluation of these parameters, and those it compares with; None for none."""
    evaluation, reference = agent.evaluation, agent.spec.game.reference
    if not evaluation:
        return None
    mean = evaluation["eval_return_mean"]
    return {
        "return_mean": mean,
        "return_std": evaluation["eval_return_std"],
        "episodes": evaluation["eval_episodes"],
        "epsilon": agent.config.eval_epsilon,
        "human_normalised": scores.human_normalised(reference, mean),
        "random": reference.random if reference else None,
        "human": reference.human if reference else None,
    }


def _preprocessing(agent: trained_agent.SavedAgent) -> list[str]:
    """The steps from the emulator's frames to the network's input."""
    config, spec = agent.config, agent.spec
    if spec.game.family != api.ATARI:
        return [
            *filter(None, [spec.frames_made]),
            *_MOTION * config.motion_trace,
            f"take the last {config.frame_stack} observations; a game's first one fills them all",
            "use them as they are: the network does not scale them"
            if spec.frame_dtype != np.uint8
            else _bytes(config),
        ]
    height, width = spec.frame_shape
    return [
        *_repeats(config, *_frames_per_step(config, spec)),
        f"resize to {height} x {width} by area",
        *_MOTION * config.motion_trace,
        f"stack the newest {config.frame_stack}; the first one of a game fills the whole stack",
        f"keep {_bytes(config)}",
        f"open a game with up to {config.noop_max or 30} no-ops"
        # The sources press it where nobody says otherwise.
        + (", and FIRE if the game waits for it" if config.use_fire_reset is not False else ""),
    ]


def _frames_per_step(config: config_lib.Config, spec: api.EnvSpec) -> list[int]:
    """The fewest and the most frames of a step; where they vary, `spec` only has their mean."""
    if config.frame_skip_min is None:
        return [spec.frame_skip, spec.frame_skip]
    return [config.frame_skip_min, config.frame_skip or api.ATARI_FRAME_SKIP]


def _repeats(config: config_lib.Config, fewest: int, most: int) -> list[str]:
    luminance = "take the emulator's luminance (210 x 160 bytes)"
    if config.frame_skip_min is None:
        return [
            f"repeat each action for {most} emulator frames",
            f"{luminance}, the maximum of the last two frames",
        ]
    drawn = f"{fewest} to {most} emulator frames, a new random number each time"
    return [f"repeat each action for {drawn}", f"{luminance} of the last one"]


def _bytes(config: config_lib.Config) -> str:
    scaling = "divides them by 255" if config.scale_pixels else "takes them as they are"
    return f"bytes 0 to 255: the network {scaling}"
