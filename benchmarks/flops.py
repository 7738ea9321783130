"""Floating-point operations of matrix products, counted from the network, and their peak rate."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import clock
from jaxdqn.assembly import parts
from jaxdqn.envs import api
from jaxdqn.settings import config as config_lib


def of_products(function: Callable[..., Any], *args: Any) -> list[int]:
    """The FLOPs of each matrix product and plain convolution that a function computes, in order."""
    return list(_of_jaxpr(jax.make_jaxpr(function)(*args).jaxpr))


def _equations(jaxpr: Any) -> Iterator[Any]:
    """Those of a program and of the functions that it calls."""
    for equation in jaxpr.eqns:
        yield equation
        for parameter in equation.params.values():
            inner = getattr(parameter, "jaxpr", parameter)  # of a function that this one calls
            if hasattr(inner, "eqns"):
                yield from _equations(inner)


def _of_jaxpr(jaxpr: Any) -> Iterator[int]:
    for equation in _equations(jaxpr):
        name, out = equation.primitive.name, equation.outvars[0].aval
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            lhs = equation.invars[0].aval.shape
            yield 2 * out.size * math.prod(lhs[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval
            outputs = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
            yield 2 * out.size * kernel.size // outputs


def _forward_pass(config: config_lib.Config, spec: api.EnvSpec) -> tuple[Any, ...]:
    """What gives the action values of a batch, with plain convolutions, and its arguments."""
    network = parts.make_network(config, spec, lambda: "xla")
    like = parts.observation_like(config, spec, config.batch_size)
    one = jax.ShapeDtypeStruct((1, *like.shape[1:]), like.dtype)
    params = jax.eval_shape(network.init, jax.random.key(0), one)
    return network.q_values, params, like


def passes(config: config_lib.Config) -> int:
    """Forward passes that an update takes as long as.

    One each of the online and the target network, and one more to choose the action in double
    Q-learning. The gradient needs each product twice.
    """
    return 5 if config.double_q else 4


def of_update(config: config_lib.Config, spec: api.EnvSpec) -> int:
    """The FLOPs of the products in an update with plain convolutions; see `passes`.

    The gradient of the first layer's input is not needed.
    """
    products = of_products(*_forward_pass(config, spec))
    return passes(config) * sum(products) - products[0]


def layer_elements(config: config_lib.Config, spec: api.EnvSpec) -> int:
    """Elements that the convolutions and dense layers give in a forward pass of a batch."""
    products = ("dot_general", "conv_general_dilated")
    values, *args = _forward_pass(config, spec)
    return sum(
        equation.outvars[0].aval.size
        for equation in _equations(jax.make_jaxpr(values)(*args).jaxpr)
        if equation.primitive.name in products
    )


def product_rate(size: int, dtype: jnp.dtype) -> Callable[[], float]:
    """Measures products of [size, size] matrices on the first device, in FLOP/s."""
    # Arguments, not constants, or the compiler would multiply them itself.
    matrix = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda a, b: a @ b)

    def measure() -> float:
        return 2 * size**3 / min(clock.seconds(lambda: product(matrix, matrix)) for _ in range(5))

    return measure
