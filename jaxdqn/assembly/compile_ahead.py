"""Compilation on other threads, while something else goes on."""

import concurrent.futures
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Fallback(NamedTuple):
    """What replaces a function that fails at its first call."""

    function: Callable[..., Any]  # with the same results
    num_donated: int  # arguments that both take away: the first ones
    loses: str  # what the run loses by it, to be told


class Compiler:
    """Compiles functions on threads of their own.

    Args:
      say: shows a line, when a function has to be replaced.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._threads = concurrent.futures.ThreadPoolExecutor()

    def compile(
        self, function: Any, *shaped: Any, fallback: Fallback | None = None
    ) -> Callable[..., Any]:
        """The same function, being compiled for such arguments; its first call waits for that.

        Args:
          function: jitted.
          *shaped: arguments, or their shapes.
          fallback: what replaces the function if it cannot be compiled or called.
        """
        task = self._threads.submit(lambda: function.lower(*shaped).compile())
        chosen = with_fallback(function, fallback, self._say) if fallback else function
        # What can be replaced fails again when it is tried. A turn calls this, so it must be short.
        wait = task.exception if fallback else task.result

        def call(*args: Any) -> Any:
            wait()
            return chosen(*args)

        return call

    def close(self) -> None:
        """Takes no more functions; those under way go on."""
        self._threads.shutdown(wait=False)


def with_fallback(
    function: Callable[..., Any], fallback: Fallback, say: Callable[[str], None]
) -> Callable[..., Any]:
    """The function, or what replaces it if it fails.

    Before its first call it is tried on copies of what it takes away: a call that fails has taken
    its arguments with it.
    """
    chosen: Callable[..., Any] | None = None

    def call(*args: Any) -> Any:
        nonlocal chosen
        if chosen is None:
            given, kept = args[: fallback.num_donated], args[fallback.num_donated :]
            try:
                for _ in range(2):  # the second call runs what the first has captured
                    jax.block_until_ready(function(*_copied(given), *kept))
                chosen = function
            except jax.errors.JaxRuntimeError as error:
                say(f"slower than it could be: {fallback.loses}: {str(error).splitlines()[0]}")
                chosen = fallback.function
        return chosen(*args)

    return call


@jax.jit
def _copied(trees: Any) -> Any:
    return jax.tree.map(jnp.copy, trees)
