"""What is compiled, by XLA and of C++, kept on disk: the next run of its kind starts sooner."""

import hashlib
import os
import pathlib
import platform

import jax
import jaxlib.version

from jaxdqn.runtime import native, shared_folders


def use_cache(folder: str) -> None:
    """Keeps what is compiled from now on in `folder` and takes from there what fits; '' does not.

    Each kind of machine and version of XLA has a folder of its own in it: code for one CPU can
    stop with an illegal instruction on another that shares the same home directory.

    For XLA's programs a user's own choice, the environment variable JAX_COMPILATION_CACHE_DIR,
    goes before. Several processes keep theirs only where all see the same folder.
    """
    path = pathlib.Path(folder).expanduser() / _machine() if folder else None
    native.start(path)
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR", "")
    programs = chosen or str(path or "")
    if jax.distributed.is_initialized() and "://" not in programs:  # as a bucket's address has
        jax.config.update("jax_compilation_cache_dir", None)
        # JAX writes from process 0 alone. Where only that one finds a program at the next start,
        # the others compile it, and on GPUs XLA shares the search for the fastest kernels out to
        # all: they would wait for process 0 for ever.
        if not shared_folders.is_shared(pathlib.Path(programs) if programs else None):
            return
    if not programs:
        return
    jax.config.update("jax_compilation_cache_dir", programs)
    if chosen:
        return
    # The many small functions of a start take as long together as the large ones.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _machine() -> str:
    """A short digest of what compiled code depends on."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = [platform.processor()]
    told = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    facts = (jaxlib.version.__version__, platform.machine(), sorted(told or lines[:1]))
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
