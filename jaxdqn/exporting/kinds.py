"""The kinds of files that hold an exported agent; `formats.py` writes and loads them."""

from collections.abc import Mapping
from typing import NamedTuple


class Kind(NamedTuple):
    """What users see of one."""

    text: str  # what it is for, for `--help`
    loading: str  # Python that loads the file


KINDS: Mapping[str, Kind] = {
    "stablehlo": Kind(
        "for JAX on CPU, CUDA and TPU",
        """import jax.export  # with flatbuffers installed
import numpy as np

with open("policy.stablehlo", "rb") as file:
    network = jax.export.deserialize(bytearray(file.read()))
q_values = np.asarray(network.call(observation))""",
    ),
    "onnx": Kind(
        "for ONNX Runtime and others",
        """import onnxruntime

session = onnxruntime.InferenceSession("policy.onnx")
(q_values,) = session.run(["q_values"], {"observation": observation})""",
    ),
    "safetensors": Kind(
        "only the parameters",
        """import safetensors.numpy

parameters = safetensors.numpy.load_file("policy.safetensors")""",
    ),
}
