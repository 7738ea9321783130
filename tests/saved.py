"""Run directories as training leaves them: untrained parameters, invented scores."""

import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from jaxdqn.algorithms import api
from jaxdqn.assembly import env_spec, parts
from jaxdqn.checkpointing import checkpoint_writer
from jaxdqn.distributed import mesh
from jaxdqn.rundir import layout, trained_agent
from jaxdqn.settings import presets

# Short games, so that whole ones are quick.
BREAKOUT = {"max_episode_steps": 60, "num_envs": 8, "replay_capacity": 1600}
BREAKOUT |= {"learning_starts_steps": 400, "network": "nature", "hidden_sizes": (512,)}
# The same with a network of 836 parameters, where its values do not matter.
TINY = {**BREAKOUT, "network": "conv", "conv_features": (2,), "conv_sizes": (8,)}
TINY |= {"conv_strides": (8,), "hidden_sizes": (4,)}


# What a stack of frames and plain layers do not show: motion traces, 'same' convolutions, steps of
# random length, a dueling head, a second learner.
TRACED = {**BREAKOUT, "motion_trace": True, "frame_stack": 1, "frame_skip_min": 2, "dueling": True}
TRACED |= {"network": "conv", "conv_features": (4, 8), "conv_sizes": (5, 3), "conv_strides": (3, 2)}
TRACED |= {"conv_padding": "same", "hidden_sizes": (8,), "img_height": 42, "img_width": 32}
TRACED |= {"algorithm": "sweep", "scale_pixels": False}
del TRACED["learning_starts_steps"]


def make_run(path, env="Breakout", changes=BREAKOUT, returns=(1.0, 3.0, 2.0)):
    """A run with a checkpoint and an evaluation at steps 10, 20, ...; other parameters at each."""
    config = presets.resolve(env, "", changes)
    layout.create(path, config)
    built = api.chosen(config).build(config, env_spec.describe(config), mesh.make_mesh(1))
    store = checkpoint_writer.Writer(path / layout.CHECKPOINTS, keep=len(returns))
    rows = []
    for i, score in enumerate(returns, start=1):
        learner, play = built.init(jax.random.key(i)), {"sums": jnp.zeros(4)}
        store.save(learner, play, {"steps": 10 * i})
        evaluation = {"eval_return_mean": score, "eval_return_std": 0.5, "eval_episodes": 4}
        rows += [{"step": 10 * i - 5, "loss": 0.1}, {"step": 10 * i, **evaluation}]
    assert store.close().error == ""
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def make_agent(env, changes):
    """What `trained_agent.load` returns for such a run, without files; parameters are random."""
    config = presets.resolve(env, "", changes)
    spec = env_spec.describe(config)
    network, random = parts.make_network(config, spec), np.random.default_rng(1)
    like = jax.eval_shape(network.init, jax.random.key(0), parts.observation_like(config, spec))

    def draw(leaf):
        inputs = math.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 100
        return jnp.asarray(random.normal(size=leaf.shape) / inputs**0.5, leaf.dtype)

    return trained_agent.SavedAgent(
        pathlib.Path("run"), config, spec, 10, jax.tree.map(draw, like), None
    )


def listing(path):
    """Every file below a folder, with its content."""
    return {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
