import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.assembly import compile_ahead


def plain(state, by):
    return state + by


class Graph:
    """Takes its first argument away; may fail from a call on."""

    def __init__(self, fails_at=None):
        self.calls, self._fails_at = 0, fails_at
        self._function = jax.jit(plain, donate_argnums=0)

    def lower(self, *shaped):
        return self._function.lower(*shaped)

    def __call__(self, *args):
        self.calls += 1
        result = self._function(*args)
        if self._fails_at is not None and self.calls >= self._fails_at:
            raise jax.errors.JaxRuntimeError("INTERNAL: cudnn status 5003\nin a stream")
        return result


def learn_twice(function):
    """-> results of two calls, and the lines that were said."""
    said = []
    compiler = compile_ahead.Compiler(said.append)
    fallback = compile_ahead.Fallback(jax.jit(plain, donate_argnums=0), 1, "no graph")
    state, by = jnp.arange(3.0), jnp.float32(2)
    called = compiler.compile(function, state, by, fallback=fallback)
    compiler.close()
    with jax.transfer_guard("disallow"):
        one = called(state, by)
        assert state.is_deleted()
        kept = np.array(one)
        two = called(one, by)
    return [kept, np.array(two)], said


def test_what_can_be_called_stays():
    graph = Graph()
    found, said = learn_twice(graph)
    np.testing.assert_array_equal(found, [[2, 3, 4], [4, 5, 6]])
    assert graph.calls == 2 + 2 and not said  # tried twice at first, on copies


@pytest.mark.parametrize("fails_at", [1, 2])
def test_what_cannot_be_called_is_replaced_and_nothing_is_lost(fails_at):
    graph = Graph(fails_at)
    found, said = learn_twice(graph)
    np.testing.assert_array_equal(found, [[2, 3, 4], [4, 5, 6]])
    assert graph.calls == fails_at
    assert said == ["slower than it could be: no graph: INTERNAL: cudnn status 5003"]


def test_what_cannot_be_compiled_is_replaced():
    class Uncompilable(Graph):
        def lower(self, *shaped):
            raise jax.errors.JaxRuntimeError("INTERNAL: no such option")

    found, said = learn_twice(Uncompilable(1))
    np.testing.assert_array_equal(found, [[2, 3, 4], [4, 5, 6]])
    assert len(said) == 1


def test_without_a_replacement_errors_are_raised():
    compiler = compile_ahead.Compiler(print)

    class Uncompilable(Graph):
        def lower(self, *shaped):
            raise jax.errors.JaxRuntimeError("INTERNAL: no such option")

    called = compiler.compile(Uncompilable(), jnp.arange(3.0), jnp.float32(2))
    with pytest.raises(jax.errors.JaxRuntimeError, match="no such option"):
        called(jnp.arange(3.0), jnp.float32(2))
