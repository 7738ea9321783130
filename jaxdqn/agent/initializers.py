"""How kernels begin, by name; biases begin at 0."""

from collections.abc import Mapping

import flax.linen as nn
import jax

INITIALIZERS: Mapping[str, jax.nn.initializers.Initializer] = {
    "lecun_normal": nn.initializers.lecun_normal(),
    "glorot_uniform": nn.initializers.glorot_uniform(),
    "he_normal": nn.initializers.he_normal(),
    "truncated_normal": nn.initializers.truncated_normal(0.02),
}
