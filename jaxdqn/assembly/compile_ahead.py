"""Compilation on other threads, while something else goes on."""

import concurrent.futures
from collections.abc import Callable
from typing import Any


class Compiler:
    """Compiles functions on threads of their own."""

    def __init__(self) -> None:
        self._threads = concurrent.futures.ThreadPoolExecutor()

    def ahead(self, function: Any, *shaped: Any) -> Callable[..., Any]:
        """The same function, being compiled for such arguments; its first call waits for that."""
        task = self._threads.submit(lambda: function.lower(*shaped).compile())

        def call(*args: Any) -> Any:
            task.result()
            return function(*args)

        return call

    def close(self) -> None:
        """Takes no more functions; those under way go on."""
        self._threads.shutdown(wait=False)
