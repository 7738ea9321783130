"""Values and gradients agree with XLA's convolution, bias and ReLU, however they are computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.kernels.convolution import conv2d, conv2d_frames

SHAPES = [  # batch, height, width, channels, kernel height, kernel width, outputs, stride
    (32, 84, 84, 4, 8, 8, 32, 4),
    (32, 20, 20, 32, 4, 4, 64, 2),
    (32, 9, 9, 64, 3, 3, 64, 1),
    (2, 84, 84, 1, 8, 8, 16, 4),
    (3, 23, 17, 3, 5, 4, 7, 2),
    (2, 11, 13, 5, 3, 3, 4, 4),
    (2, 10, 10, 6, 1, 1, 8, 1),
    (2, 10, 9, 6, 1, 1, 3, 2),
    (1, 5, 5, 2, 5, 5, 3, 3),
    (5, 12, 12, 3, 2, 3, 40, 1),
    (2, 7, 6, 3, 2, 2, 5, 1),
]
NATIVE = [(5, 100, 89, 2, 8, 8, 32, 4, "uint8"), (9, 84, 84, 4, 8, 8, 32, 4, "uint8")]
NATIVE += [(5, 40, 44, 3, 8, 8, 32, 4, "uint8")]  # an image in colour
NATIVE += [
    (*shape, "float32")
    for shape in (
        (9, 20, 20, 32, 4, 4, 64, 2),
        (9, 9, 9, 64, 3, 3, 64, 1),
        (2, 13, 22, 32, 2, 2, 32, 1),
        (3, 24, 17, 8, 5, 6, 96, 2),
    )
]


def close(actual, expected):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * scale)


def problem(shape, dtype):
    batch, height, width, channels, *window, outputs, stride = shape
    rng = np.random.default_rng(0)
    if dtype == "uint8":
        x = rng.integers(0, 256, (batch, height, width, channels), dtype=np.uint8)
    else:
        x = rng.standard_normal((batch, height, width, channels), dtype=np.float32)
    kernel = rng.standard_normal((*window, channels, outputs), dtype=np.float32)
    bias = rng.standard_normal(outputs, dtype=np.float32)
    before = np.asarray(  # z is relu(z) - relu(-z)
        conv2d(x, kernel, bias, stride, "xla") - conv2d(x, -kernel, -bias, stride, "xla")
    )
    dy = rng.standard_normal(before.shape, dtype=np.float32)
    # Where rounding decides which side of the ReLU's edge a value lies on, no gradient is compared.
    dy[np.abs(before) < 1e-4 * np.abs(before).max()] = 0
    return *map(jnp.asarray, (x, kernel, bias, dy)), stride


def value_and_gradients(function, x, kernel, bias, dy):
    if x.dtype == jnp.uint8:
        y, pull = jax.vjp(lambda kernel, bias: function(x, kernel, bias), kernel, bias)
    else:
        y, pull = jax.vjp(function, x, kernel, bias)
    return y, *pull(dy)


# One of each kind without `jit`, which compiles each operation for itself.
CASES = [(shape, True, relu) for shape in SHAPES for relu in (True, False)]
CASES += [(SHAPES[i], False, True) for i in (0, 2, 4, 10)]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("shape", "jit", "relu"), CASES, ids=str)
def test_products_equal_xla(shape, dtype, jit, relu):
    *arrays, stride = problem(shape, dtype)
    expected = value_and_gradients(lambda *a: conv2d(*a, stride, "xla", relu=relu), *arrays)

    def stacked(x, kernel, bias):
        return conv2d_frames(x.transpose(0, 3, 1, 2), kernel, bias, stride, "matmul", relu=relu)

    def both(*arrays):
        plain = value_and_gradients(lambda *a: conv2d(*a, stride, "matmul", relu=relu), *arrays)
        return plain, value_and_gradients(stacked, *arrays)

    for actual in (jax.jit(both) if jit else both)(*arrays):
        assert [a.shape for a in actual] == [e.shape for e in expected]
        for a, e in zip(actual, expected, strict=True):
            close(a, e)


@pytest.mark.parametrize("shape", NATIVE, ids=str)
def test_native_functions_equal_xla(shape):
    *shape, dtype = shape
    *arrays, stride = problem(shape, dtype)

    def native(x, kernel, bias):
        if dtype == "uint8":
            return conv2d_frames(x.transpose(0, 3, 1, 2), kernel, bias, stride, "native")
        return conv2d(x, kernel, bias, stride, "native")

    def native_gradients(*arrays):
        return value_and_gradients(native, *arrays)

    assert str(jax.make_jaxpr(native_gradients)(*arrays)).count("ffi_call") == 2
    expected = value_and_gradients(lambda *a: conv2d(*a, stride, "xla"), *arrays)
    actual = jax.jit(native_gradients)(*arrays)
    assert [a.shape for a in actual] == [e.shape for e in expected]
    for a, e in zip(actual, expected, strict=True):
        close(a, e)
    for a, again in zip(actual, jax.jit(native_gradients)(*arrays), strict=True):
        np.testing.assert_array_equal(a, again)


def test_the_compiler_counts_the_memory_of_gradients():
    """Of the parts of a batch, each with sums of its own, which no thread keeps for itself."""
    x, kernel, bias, dy, stride = problem((64, 9, 9, 64, 3, 3, 64, 1), "float32")

    def gradient(*arrays):
        return value_and_gradients(lambda *a: conv2d(*a, stride, "native"), *arrays)[2]

    memory = jax.jit(gradient).lower(x, kernel, bias, dy).compile().memory_analysis()
    parts, planes = 64 // 4, 16
    assert memory.temp_size_in_bytes >= parts * planes * 64 * 64 * 4


@pytest.mark.parametrize("dtype", ["uint32", "int16"])
@pytest.mark.parametrize("implementation", ["native", "matmul"])
def test_other_integers_are_numbers_and_no_packed_bytes(dtype, implementation):
    x, kernel, bias, _, stride = problem(SHAPES[3], "uint8")
    expected = conv2d(x, kernel, bias, stride, "xla")
    x = x.astype(dtype)
    close(conv2d(x, kernel, bias, stride, implementation), expected)
    frames = x.transpose(0, 3, 1, 2)
    close(conv2d_frames(frames, kernel, bias, stride, implementation), expected)


def test_native_functions_keep_what_is_not_a_number():
    x, kernel, bias, dy, stride = problem(NATIVE[3][:-1], "float32")
    x = x.at[1, 4, 4, 0].set(jnp.nan)
    y, _, dkernel, _ = value_and_gradients(
        lambda *a: conv2d(*a, stride, "native"), x, kernel, bias, dy
    )
    assert jnp.isnan(y[1]).any()
    assert not jnp.isnan(y[0]).any()
    assert jnp.isnan(dkernel).any()


@pytest.mark.parametrize("implementation", ["native", "matmul"])
def test_gradient_of_loss_over_bytes(implementation):
    x, kernel, bias, _, stride = problem(SHAPES[0], "uint8")
    frames = x.transpose(0, 3, 1, 2)

    for function, images in ((conv2d, x), (conv2d_frames, frames)):

        def loss(kernel, implementation, function=function, images=images):
            return (function(images, kernel / 255, bias, stride, implementation) ** 2).mean()

        close(jax.grad(loss)(kernel, implementation), jax.grad(loss)(kernel, "xla"))


@pytest.mark.parametrize(
    ("implementation", "shape"), [("native", SHAPES[1]), ("matmul", SHAPES[4])]
)
def test_maps_and_scans(implementation, shape):
    x, kernel, bias, _, stride = problem(shape, "float32")
    xs = jnp.stack([x, 2 * x])

    def layer(x):
        return conv2d(x, kernel, bias, stride, implementation)

    expected = jnp.stack([conv2d(a, kernel, bias, stride, "xla") for a in xs])
    close(jax.vmap(layer)(xs), expected)
    close(jax.lax.map(layer, xs), expected)
