"""Writes and loads a Q-network as a file that runs without this package: two functions per format.

All compute in float32 with plain convolutions, so a file does not depend on the machine that wrote
it. Loading executes nothing from a file except the operations of a network.
"""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from jaxdqn import errors, extras
from jaxdqn.agent import networks
from jaxdqn.assembly import parts
from jaxdqn.rundir import exported_agent, trained_agent

_PLATFORMS = ("cpu", "cuda", "tpu")

QValues = Callable[[np.ndarray], np.ndarray]  # [B, S, *frame_shape] -> [B, A] float32


class Format(NamedTuple):
    """How a network is written to a file, and how the file is run."""

    suffix: str
    write: Callable[[trained_agent.SavedAgent, pathlib.Path], None]
    load: Callable[[trained_agent.SavedAgent, pathlib.Path], QValues]


def network(agent: trained_agent.SavedAgent) -> networks.Network:
    """The agent's network in the form that is exported."""
    config = dataclasses.replace(agent.config, compute_dtype="float32")
    return parts.make_network(config, agent.spec, lambda: "xla")


def _function(agent: trained_agent.SavedAgent) -> Callable[[jax.Array], jax.Array]:
    """The function from observations to action values, with the parameters built in."""
    return lambda observation: network(agent).q_values(agent.params, observation)


def _input(agent: trained_agent.SavedAgent, batch: Any) -> jax.ShapeDtypeStruct:
    return parts.observation_like(agent.config, agent.spec, batch)


def _write_stablehlo(agent: trained_agent.SavedAgent, path: pathlib.Path) -> None:
    (batch,) = jax.export.symbolic_shape("batch")
    function = jax.jit(_function(agent))
    exported = jax.export.export(function, platforms=_PLATFORMS)(_input(agent, batch))
    with _optional("stablehlo"):  # JAX imports flatbuffers there
        path.write_bytes(exported.serialize())


def _load_stablehlo(_: trained_agent.SavedAgent, path: pathlib.Path) -> QValues:
    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    return lambda observation: np.asarray(exported.call(observation))


def _write_onnx(agent: trained_agent.SavedAgent, path: pathlib.Path) -> None:
    # It logs every plugin whose library is not installed.
    logging.getLogger("jax2onnx").setLevel(logging.CRITICAL)
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    with _optional("onnx"):
        import jax2onnx
        import onnx
    model = jax2onnx.to_onnx(
        _function(agent),
        inputs=[_input(agent, "batch")],
        input_names=["observation"],
        output_names=["q_values"],
        model_name=f"{agent.spec.env_id} Q-network",
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _load_onnx(_: trained_agent.SavedAgent, path: pathlib.Path) -> QValues:
    with _optional("onnx"):
        import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def q_values(observation: np.ndarray) -> np.ndarray:
        (values,) = session.run(["q_values"], {"observation": observation})
        return np.asarray(values)

    return q_values


def _write_safetensors(agent: trained_agent.SavedAgent, path: pathlib.Path) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(agent.params)
    named = {
        exported_agent.parameter_name(where): np.ascontiguousarray(leaf) for where, leaf in leaves
    }
    path.write_bytes(safetensors.numpy.save(named))


def _load_safetensors(agent: trained_agent.SavedAgent, path: pathlib.Path) -> QValues:
    named = safetensors.numpy.load_file(path)
    params = jax.tree_util.tree_map_with_path(
        lambda where, leaf: jnp.asarray(named[exported_agent.parameter_name(where)], leaf.dtype),
        agent.params,
    )
    q_values = jax.jit(network(agent).q_values)
    return lambda observation: np.asarray(q_values(params, observation))


@contextlib.contextmanager
def _optional(name: str) -> Iterator[None]:
    """For imports of optional packages.

    Raises:
      RunError: a package is missing; says how to install it.
    """
    try:
        yield
    except ImportError as error:
        raise errors.RunError(
            f"--format={name} needs more packages ({error}): {extras.installation('export')}"
        ) from None


FORMATS: Mapping[str, Format] = {
    "stablehlo": Format(".stablehlo", _write_stablehlo, _load_stablehlo),
    "onnx": Format(".onnx", _write_onnx, _load_onnx),
    "safetensors": Format(".safetensors", _write_safetensors, _load_safetensors),
}
