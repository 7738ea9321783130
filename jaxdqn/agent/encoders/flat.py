"""Observations of any shape as one vector."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxdqn.agent.encoders import api
from jaxdqn.settings import config as config_lib


def make(config: config_lib.Config) -> api.Encoder:
    """The encoder of a run."""
    return flat(config.scale_pixels)


def flat(scale_pixels: bool = True) -> api.Encoder:
    """Builds an encoder; `scale_pixels` divides bytes by 255."""
    return api.Encoder(module=lambda *_: Flat(scale_pixels), needs=lambda _: "", learns=False)


class Flat(nn.Module):
    """Observations as float32."""

    scale_pixels: bool

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, ...] -> [B, F]."""
        scale = api.pixel_scale(observation, self.scale_pixels)
        x = observation.astype(jnp.float32) * scale
        return x.reshape(observation.shape[0], -1)
