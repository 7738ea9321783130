"""What is compiled, by XLA and of C++, kept on disk: the next run of its kind starts sooner."""

import atexit
import hashlib
import os
import pathlib
import platform
import warnings

import jax
import jaxlib.version

from jaxdqn.assembly import program_cache
from jaxdqn.distributed import processes, shared_folders
from jaxdqn.kernels import native_library


def use_cache(folder: str) -> None:
    """Keeps what is compiled from now on in `folder` and takes from there what fits; '' does not.

    Each kind of machine and version of XLA has a folder of its own in it: code for one CPU can
    stop with an illegal instruction on another that shares the same home directory. What is damaged
    there is made anew, and a folder that cannot be used costs time, and nothing else.

    For XLA's programs a user's own choice, the environment variable JAX_COMPILATION_CACHE_DIR,
    goes before. Several processes keep theirs only where all see the same folder.
    """
    path = _own(folder)
    native_library.start(path)
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR", "")
    programs = chosen or str(path or "")
    if jax.distributed.is_initialized() and "://" not in programs:  # as a bucket's address has
        jax.config.update("jax_compilation_cache_dir", None)
        # JAX writes from process 0 alone. Where only that one finds a program at the next start,
        # the others compile it, and on GPUs XLA shares the search for the fastest kernels out to
        # all: they would wait for process 0 for ever.
        if not shared_folders.is_shared(pathlib.Path(programs) if programs else None):
            return
    # The process that writes is the one that checks, and the others wait for it.
    may_use, may_write = processes.from_primary(
        lambda: (False, False) if chosen or path is None else program_cache.check(path)
    )
    if chosen:
        jax.config.update("jax_compilation_cache_dir", chosen)
    elif may_use:
        _use(programs, may_write)
        if processes.is_primary():
            # While what this process has written is as it was written.
            atexit.register(program_cache.check, pathlib.Path(programs))


def _own(folder: str) -> pathlib.Path | None:
    """This machine's part of a folder; None where there is none, or no home to find it in."""
    try:
        return pathlib.Path(folder).expanduser() / _machine() if folder else None
    except RuntimeError:
        return None


def _use(folder: str, may_write: bool) -> None:
    jax.config.update("jax_compilation_cache_dir", folder)
    # The many small functions of a start take as long together as the large ones.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    if not may_write:  # XLA takes it for an error where it cannot note a GPU's fastest kernels
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    # What cannot be kept, or is read while another process writes it, is compiled, and no more.
    told = "Error (reading|writing) persistent compilation cache entry"
    warnings.filterwarnings("ignore", told, UserWarning)


def _machine() -> str:
    """A short digest of what compiled code depends on."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = [platform.processor()]
    told = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    facts = (
        jaxlib.version.__version__,
        program_cache.codec().__name__,  # what one compresses, another cannot read
        platform.machine(),
        sorted(told or lines[:1]),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
