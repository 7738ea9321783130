"""Q-networks. They take frames as the environment gives them and own scaling and layout."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp


def scale_pixels(observation: jax.Array) -> jax.Array:
    """Bytes to [0, 1]; other dtypes as they are. Returns float32."""
    scale = 1 / 255 if observation.dtype == jnp.uint8 else 1.0
    return observation.astype(jnp.float32) * scale


class NatureTorso(nn.Module):
    """The three convolutions of Mnih et al. (Nature, 2015), flattened."""

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, S, H, W] uint8 -> [B, F] float32."""
        x = jnp.moveaxis(scale_pixels(observation), 1, -1)
        for features, size, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
            x = nn.relu(nn.Conv(features, (size, size), (stride, stride), padding="VALID")(x))
        return x.reshape(x.shape[0], -1)


class FlatTorso(nn.Module):
    """Observations of any shape as one vector."""

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, ...] -> [B, F] float32."""
        return scale_pixels(observation).reshape(observation.shape[0], -1)


class QNetwork(nn.Module):
    """A torso, dense ReLU layers, and one linear output for each action."""

    torso: nn.Module
    hidden_sizes: Sequence[int]
    num_actions: int

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, S, *frame_shape] -> [B, A] float32 action values."""
        x = self.torso(observation)
        for size in self.hidden_sizes:
            x = nn.relu(nn.Dense(size)(x))
        return nn.Dense(self.num_actions)(x)


TORSOS = {"nature": NatureTorso, "mlp": FlatTorso}


def make_network(name: str, hidden_sizes: Sequence[int], num_actions: int) -> QNetwork:
    """A Q-network by the name of its torso, a key of `TORSOS`."""
    return QNetwork(torso=TORSOS[name](), hidden_sizes=tuple(hidden_sizes), num_actions=num_actions)
