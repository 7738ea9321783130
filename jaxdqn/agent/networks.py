"""Q-networks. They take frames as the environment gives them and own scaling and layout.

Parameters and action values are float32. `dtype` is what all layers but the last compute in.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdqn.agent import convolution


def _pixel_scale(observation: jax.Array) -> float:
    """What takes an observation to about [-1, 1]: bytes are divided by 255, floats stay."""
    return 1 / 255 if observation.dtype == jnp.uint8 else 1.0


class NatureTorso(nn.Module):
    """The three convolutions of Mnih et al. (Nature, 2015), flattened.

    The parameters are those of plain convolutions, [height, width, in, out], whichever way they
    are computed.
    """

    implementation: Callable[[], convolution.Implementation]
    dtype: DTypeLike

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, S, H, W] uint8 or float32 -> [B, F]."""
        x, scale = observation, _pixel_scale(observation)
        implementation = self.implementation()
        for i, (features, size, stride) in enumerate(((32, 8, 4), (64, 4, 2), (64, 3, 1))):
            inputs = x.shape[1] if i == 0 else x.shape[-1]
            kernel = self.param(
                f"conv_{i}_kernel", nn.initializers.lecun_normal(), (size, size, inputs, features)
            )
            bias = self.param(f"conv_{i}_bias", nn.initializers.zeros, (features,))
            bias = bias.astype(self.dtype)
            if i == 0:  # scaling the kernel instead of the frames lets bytes travel as bytes
                kernel = (kernel * scale).astype(self.dtype)
                x = convolution.conv2d_relu_frames(x, kernel, bias, stride, implementation)
            else:
                kernel = kernel.astype(self.dtype)
                x = convolution.conv2d_relu(x, kernel, bias, stride, implementation)
            self.sow("intermediates", f"conv_{i}", x)  # nothing, unless somebody asks for them
        return x.reshape(x.shape[0], -1)


class FlatTorso(nn.Module):
    """Observations of any shape as one vector of float32."""

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, ...] -> [B, F]."""
        x = observation.astype(jnp.float32) * _pixel_scale(observation)
        return x.reshape(observation.shape[0], -1)


class QNetwork(nn.Module):
    """A torso, dense ReLU layers, and one linear output for each action."""

    torso: nn.Module
    hidden_sizes: Sequence[int]
    num_actions: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, S, *frame_shape] -> [B, A] float32 action values."""
        x = self.torso(observation)
        for size in self.hidden_sizes:
            x = nn.relu(nn.Dense(size, dtype=self.dtype)(x))
        # Action values differ by less than bfloat16 can tell apart.
        return nn.Dense(self.num_actions, dtype=jnp.float32)(x)


class Network(NamedTuple):
    """Pure functions of a Q-network."""

    init: Callable[[jax.Array, jax.Array], chex.ArrayTree]  # (key, observation [1, S, *F])
    q_values: Callable[[chex.ArrayTree, jax.Array], jax.Array]  # (params, [B, S, *F]) -> [B, A]
    # (params, [B, S, *F]) -> by name, outputs of the convolutions [B, H, W, C]; none in an mlp
    convolutions: Callable[[chex.ArrayTree, jax.Array], dict[str, jax.Array]] = lambda *_: {}


def make_network(
    name: str,
    hidden_sizes: Sequence[int],
    num_actions: int,
    implementation: Callable[[], convolution.Implementation],
    dtype: DTypeLike = jnp.float32,
) -> Network:
    """Builds a Q-network.

    Args:
      name: of its torso, 'nature' or 'mlp'.
      hidden_sizes: of the dense layers between the torso and the outputs.
      num_actions: outputs.
      implementation: tells how to convolve; asked when action values are traced, and not before.
      dtype: what all layers but the last compute in.
    """

    def module(implementation: Callable[[], convolution.Implementation]) -> QNetwork:
        torso = NatureTorso(implementation, dtype) if name == "nature" else FlatTorso()
        return QNetwork(torso, tuple(hidden_sizes), num_actions, dtype)

    def init(key: jax.Array, observation: jax.Array) -> chex.ArrayTree:
        # Parameters are the same however they are used.
        params: Any = module(lambda: "xla").init(key, observation)
        return params

    def q_values(params: chex.ArrayTree, observation: jax.Array) -> jax.Array:
        values: Any = module(implementation).apply(params, observation)  # flax types it as anything
        return values

    def convolutions(params: chex.ArrayTree, observation: jax.Array) -> dict[str, jax.Array]:
        _, state = module(implementation).apply(params, observation, mutable=["intermediates"])
        found: Any = state.get("intermediates", {}).get("torso", {})
        return {name: outputs for name, (outputs,) in found.items()}

    return Network(init=init, q_values=q_values, convolutions=convolutions)
