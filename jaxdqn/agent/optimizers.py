"""Optimizers, with clipped gradients before them."""

import jax
import jax.numpy as jnp
import optax


def make_optimizer(
    name: str,
    learning_rate: optax.ScalarOrSchedule,
    *,
    epsilon: float,
    max_grad_norm: float = 0.0,
    clip_per_tensor: bool = False,
    rmsprop_decay: float = 0.95,
    rmsprop_centred: bool = True,
    rmsprop_initial: float = 0.0,
) -> optax.GradientTransformation:
    """Builds an optimizer.

    Args:
      name: 'adam' (Kingma and Ba, arXiv:1412.6980), 'radam' (Liu et al., arXiv:1908.03265) or
        'rmsprop'.
      learning_rate: a number, or a schedule over updates.
      epsilon: added to Adam's root, and within RMSProp's.
      max_grad_norm: gradients are clipped to this norm; 0 leaves them.
      clip_per_tensor: clip each parameter's gradient separately, not all together.
      rmsprop_decay: of the running mean of squares.
      rmsprop_centred: subtract the running mean, as Mnih et al. (2015) do.
      rmsprop_initial: initial value of the mean of squares.
    """
    if name == "adam":
        optimizer = optax.adam(learning_rate, eps=epsilon)
    elif name == "radam":
        optimizer = optax.radam(learning_rate, eps=epsilon)
    elif name == "rmsprop":
        optimizer = optax.rmsprop(
            learning_rate,
            decay=rmsprop_decay,
            eps=epsilon,
            initial_scale=rmsprop_initial,
            centered=rmsprop_centred,
            eps_in_sqrt=True,
        )
    else:
        raise ValueError(f"unknown optimizer {name!r}")
    if not max_grad_norm:
        return optimizer
    clip = _clip_each if clip_per_tensor else optax.clip_by_global_norm
    return optax.chain(clip(max_grad_norm), optimizer)


def _clip_each(max_norm: float) -> optax.GradientTransformation:
    """Clips the gradient of every parameter separately."""

    def clip(gradient: jax.Array) -> jax.Array:
        norm = jnp.sqrt(jnp.sum(gradient**2))
        return gradient * (max_norm / jnp.maximum(norm, max_norm))

    return optax.stateless(lambda gradients, _: jax.tree.map(clip, gradients))
