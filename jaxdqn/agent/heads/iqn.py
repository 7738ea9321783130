"""IQN: quantiles of returns at random fractions, taus (Dabney et al., arXiv:1806.06923)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxdqn.agent import initializers
from jaxdqn.agent.heads import api, qr
from jaxdqn.settings import config as config_lib


def make(config: config_lib.Config) -> api.Head:
    """The head of a run."""
    embedding = FractionEmbedding(config.num_quantiles, config.num_cosines, config.dense_init)
    head = qr.quantile_head(config.num_quantiles, config.quantile_kappa)
    return head._replace(num_outputs=1, embedding=embedding)


class FractionEmbedding(nn.Module):
    """Multiplies features by a function of each fraction."""

    num_quantiles: int  # T
    num_cosines: int  # from frequency 1 on, as in dqn_zoo: that of 0 would be a second bias
    dense_init: str = "lecun_normal"  # a name in `initializers.INITIALIZERS`

    @nn.compact
    def __call__(self, features: jax.Array, keys: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """[B, F], a key for each or None -> [B, T, F], taus [B, T]; midpoints without keys."""
        # The batch size may be symbolic, which `len` does not give.
        taus = jnp.broadcast_to(
            qr.midpoints(self.num_quantiles), (features.shape[0], self.num_quantiles)
        )
        if keys is not None:
            shape = (self.num_quantiles,)
            taus = jax.vmap(lambda key: jax.random.uniform(key, shape, jnp.float32))(keys)
        frequencies = jnp.arange(1, self.num_cosines + 1)
        angles = jnp.pi * taus[..., None] * frequencies[None, None, :]
        layer = nn.Dense(
            features.shape[-1],
            dtype=features.dtype,
            kernel_init=initializers.INITIALIZERS[self.dense_init],
            name="cosines",
        )
        embedded = nn.relu(layer(jnp.cos(angles).astype(features.dtype)))
        return features[:, None, :] * embedded, taus
