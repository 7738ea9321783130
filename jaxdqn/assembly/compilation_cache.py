"""Keeps compiled XLA programs and C++ on disk, so that later runs start sooner."""

import atexit
import functools
import hashlib
import os
import pathlib
import platform
import warnings
from collections.abc import Callable

import jax
import jaxlib.version

from jaxdqn.assembly import program_cache
from jaxdqn.distributed import processes, shared_folders
from jaxdqn.kernels import native_library


def use_cache(
    folder: str, at_exit: Callable[[Callable[[], object]], object] = atexit.register
) -> None:
    """Keeps what is compiled from now on in `folder`, and uses what fits from there; '': does not.

    Each kind of machine and version of XLA has a subfolder: code for one CPU can stop with an
    illegal instruction on another that shares the same home directory. Damaged files are rebuilt.
    A folder that cannot be used only costs time.

    For XLA's programs, the user's environment variable JAX_COMPILATION_CACHE_DIR takes
    precedence. Several processes keep their programs only in a folder that all of them see.

    Args:
      folder: or '' for none.
      at_exit: called with the work that is left for the end of the process.
    """
    path = _own(folder)
    native_library.start(path)
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR", "")
    programs = chosen or str(path or "")
    if jax.distributed.is_initialized() and "://" not in programs:  # as a bucket's address has
        jax.config.update("jax_compilation_cache_dir", None)
        # Only process 0 writes. If only it finds a program at the next start, the others compile
        # it, and on GPUs XLA shares out the search for the fastest kernels to all processes: they
        # would wait for process 0 forever.
        try:
            is_shared = shared_folders.is_shared(pathlib.Path(programs) if programs else None)
        except OSError:  # the disk is full
            return
        if not is_shared:
            return
    # The process that writes also checks, and the others wait for it.
    may_use, may_write = processes.from_primary(
        lambda: (False, False) if chosen or path is None else program_cache.check(path)
    )
    if chosen:
        jax.config.update("jax_compilation_cache_dir", chosen)
    elif may_use:
        _use(programs, may_write)
        if processes.is_primary():
            # As long as what this process wrote is still unchanged.
            at_exit(functools.partial(program_cache.check, pathlib.Path(programs)))


def _own(folder: str) -> pathlib.Path | None:
    """This machine's part of a folder; None if there is none, or no home directory for it."""
    try:
        return pathlib.Path(folder).expanduser() / _machine() if folder else None
    except RuntimeError:
        return None


def _use(folder: str, may_write: bool) -> None:
    jax.config.update("jax_compilation_cache_dir", folder)
    # The many small functions of a start together take as long as the large ones.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    if not may_write:  # XLA fails if it cannot record a GPU's fastest kernels
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    # What cannot be kept, or is being written by another process, is simply compiled.
    message = "Error (reading|writing) persistent compilation cache entry"
    warnings.filterwarnings("ignore", message, UserWarning)


def _machine() -> str:
    """A short digest of what compiled code depends on."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = [platform.processor()]
    features = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    facts = (
        jaxlib.version.__version__,
        program_cache.codec().__name__,  # what one compresses, another cannot read
        platform.machine(),
        sorted(features or lines[:1]),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
