"""Lets a CPU refuse the transfers to the host that an accelerator refuses.

A CPU's arrays lie in the host's memory, so `jax.transfer_guard` refuses none of them there.
"""

import threading

import jax
import jax.numpy as jnp

_READING = ("copy_to_host_async", "tolist", "item", "__array__", "__buffer__", "__iter__")
_READING += ("__bool__", "__int__", "__float__", "__index__", "__format__")
_explicit = threading.local()  # whether `jax.device_get` is at work


def _is_refused():
    guard = jax.config.jax_transfer_guard_device_to_host
    return guard == "disallow" and not getattr(_explicit, "inside", False)


def _guarded(method):
    def call(array, *args, **kwargs):
        if _is_refused():
            raise RuntimeError(f"disallowed transfer to the host of {array.shape}")
        return method(array, *args, **kwargs)

    return call


def _explicitly(device_get):
    def call(tree):
        _explicit.inside = True
        try:
            return device_get(tree)
        finally:
            _explicit.inside = False

    return call


def refuse_implicit():
    """Refuses, from now on and in this process, transfers to the host that nothing asks for."""
    array = type(jnp.zeros(()))
    for name in _READING:
        if hasattr(array, name):  # `__buffer__` is a method from Python 3.12 on
            setattr(array, name, _guarded(getattr(array, name)))
    jax.device_get = _explicitly(jax.device_get)
