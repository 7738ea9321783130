"""Q-networks: an encoder, dense layers, and outputs whose meaning a head knows.

They take frames as the environment gives them. Parameters and outputs are float32; `dtype` is what
all layers but the last one compute in.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdqn.agent import initializers, noisy, normalization
from jaxdqn.agent.encoders import api as encoders
from jaxdqn.agent.heads import api as heads

_Noises = Mapping[str, noisy.Noise]  # by the name of the layer


class QNetwork(nn.Module):
    """An encoder, activated dense layers, and a linear layer."""

    torso: nn.Module  # the encoder; saved parameters have this name
    torso_learns: bool  # whether it has parameters
    activation: Callable[[jax.Array], jax.Array]  # of the dense layers
    head: heads.Head
    num_actions: int  # A
    hidden_sizes: tuple[int, ...]  # of the dense layers, or of each stream of a dueling network
    dueling: bool  # Wang et al. (arXiv:1511.06581)
    dense_init: str  # a name in `initializers.INITIALIZERS`
    noisy_sigma: float | None  # of the noise in dense layers, None for none; see `noisy`
    layer_norm: str  # a placement of `normalization.normalize`, before each activation
    dtype: DTypeLike

    @nn.compact
    def __call__(self, observation: jax.Array, keys: jax.Array | None = None) -> heads.Outputs:
        """[B, S, *frame_shape], and keys [B] where something is drawn -> outputs [B, ...]."""
        x, sizes, noise = self.torso(observation), self.hidden_sizes, self._noise(keys)
        if self.head.embedding is None:
            return heads.Outputs(self._outputs(x, sizes, noise))
        if sizes and not self.torso_learns:  # features are learned first, and then embedded
            x, sizes = self._hidden(x, sizes[0], "features", noise), sizes[1:]
        x, taus = self.head.embedding(x, keys)
        samples = self._outputs(x, sizes, noise)[..., 0]  # [B, T, A]
        return heads.Outputs(jnp.moveaxis(samples, 1, -1), taus)

    def _noise(self, keys: jax.Array | None) -> _Noises:
        """Of each layer that is noisy, by its name; nothing without keys."""
        if keys is None or self.noisy_sigma is None:
            return {}
        layers = self.variables["params"]
        shapes = {
            name: layer["kernel_scale"].shape
            for name, layer in layers.items()
            if "kernel_scale" in layer
        }
        return noisy.draw(jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, 1), shapes)

    def _outputs(self, x: jax.Array, sizes: tuple[int, ...], noise: _Noises) -> jax.Array:
        if not self.dueling:
            return self._stream(x, sizes, self.num_actions, "Dense_", noise)
        value = self._stream(x, sizes, 1, "value_", noise)
        advantage = self._stream(x, sizes, self.num_actions, "advantage_", noise)
        # Over the actions of each sample only: a mean over the batch would make samples depend on
        # each other.
        return value + advantage - advantage.mean(axis=-2, keepdims=True)

    def _stream(
        self, x: jax.Array, sizes: tuple[int, ...], rows: int, prefix: str, noise: _Noises
    ) -> jax.Array:
        """[..., F] -> [..., rows, K]."""
        for i, size in enumerate(sizes):
            x = self._hidden(x, size, f"{prefix}{i}", noise)
        outputs = rows * self.head.num_outputs
        x = self._dense(x, outputs, f"{prefix}{len(sizes)}", noise, is_last=True)
        return x.reshape(*x.shape[:-1], rows, self.head.num_outputs)

    def _hidden(self, x: jax.Array, size: int, name: str, noise: _Noises) -> jax.Array:
        x = self._dense(x, size, name, noise)
        x = normalization.normalize(x, self.layer_norm, f"{name}_norm", self.dtype)
        return self.activation(x)

    def _dense(
        self, x: jax.Array, size: int, name: str, noise: _Noises, *, is_last: bool = False
    ) -> jax.Array:
        """[B, ..., F] -> [B, ..., size], without activation."""
        # Action values differ by less than bfloat16 can tell apart, or TensorFloat-32, in which
        # accelerators multiply float32 by default.
        dtype = jnp.float32 if is_last else self.dtype
        precision = jax.lax.Precision.HIGHEST if is_last else None
        if self.noisy_sigma is None:
            init = initializers.INITIALIZERS[self.dense_init]
            layer = nn.Dense(size, dtype=dtype, precision=precision, kernel_init=init, name=name)
            found: jax.Array = layer(x)
            return found
        noisy_layer = noisy.NoisyDense(size, self.noisy_sigma, dtype, precision, name=name)
        return noisy_layer(x, noise.get(name))


class Network(NamedTuple):
    """Pure functions of a Q-network."""

    init: Callable[[jax.Array, jax.Array], chex.ArrayTree]  # (key, observation [1, S, *F])
    # (params, [B, S, *F], keys [B] where something is drawn, or None) -> outputs [B, ...]
    outputs: Callable[..., heads.Outputs]
    q_values: Callable[..., jax.Array]  # of the same -> [B, A]
    # (params, [B, S, *F]) -> by name, what the encoder sows [B, H, W, C]; nothing in an mlp
    feature_maps: Callable[[chex.ArrayTree, jax.Array], dict[str, jax.Array]] = lambda *_: {}
    draws: bool = False  # whether outputs depend on keys


def make_network(
    encoder: encoders.Encoder,
    head: heads.Head,
    implementation: encoders.Implementation,
    *,
    num_actions: int,
    hidden_sizes: tuple[int, ...],
    dueling: bool = False,
    dense_init: str = "lecun_normal",
    noisy_sigma: float | None = None,
    layer_norm: str = "none",
    dtype: DTypeLike = jnp.float32,
) -> Network:
    """Builds a Q-network.

    Args:
      encoder: what it begins with.
      head: what its outputs mean.
      implementation: returns how to convolve; called when action values are traced.
      num_actions: A.
      hidden_sizes: of the dense layers, or of each stream of a dueling network.
      dueling: value and advantages have streams of their own.
      dense_init: how kernels of dense layers begin, unless they are noisy.
      noisy_sigma: of the noise in dense layers; None for none.
      layer_norm: of dense layers, a placement of `normalization.normalize`.
      dtype: what all layers but the last one compute in.
    """

    def module(implementation: encoders.Implementation) -> QNetwork:
        return QNetwork(
            torso=encoder.module(implementation, dtype),
            torso_learns=encoder.learns,
            activation=encoder.activation,
            head=head,
            num_actions=num_actions,
            hidden_sizes=hidden_sizes,
            dueling=dueling,
            dense_init=dense_init,
            noisy_sigma=noisy_sigma,
            layer_norm=layer_norm,
            dtype=dtype,
        )

    def init(key: jax.Array, observation: jax.Array) -> chex.ArrayTree:
        # The parameters do not depend on how they are used.
        params: Any = module(lambda: "xla").init(key, observation)
        return params

    def outputs(
        params: chex.ArrayTree, observation: jax.Array, keys: jax.Array | None = None
    ) -> heads.Outputs:
        found: Any = module(implementation).apply(params, observation, keys)  # flax types it as Any
        return found

    def q_values(
        params: chex.ArrayTree, observation: jax.Array, keys: jax.Array | None = None
    ) -> jax.Array:
        return jax.vmap(head.values)(outputs(params, observation, keys))

    def feature_maps(params: chex.ArrayTree, observation: jax.Array) -> dict[str, jax.Array]:
        _, state = module(implementation).apply(params, observation, mutable=["intermediates"])
        found: Any = state.get("intermediates", {}).get("torso", {})
        return {name: maps for name, (maps,) in found.items()}

    draws = head.embedding is not None or noisy_sigma is not None
    return Network(init, outputs, q_values, feature_maps, draws)
