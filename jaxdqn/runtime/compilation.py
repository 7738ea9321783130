"""What is compiled, by XLA and of C++, kept on disk: the next run of its kind starts sooner."""

import hashlib
import os
import pathlib
import platform

import jax
import jaxlib.version

from jaxdqn.runtime import native


def use_cache(folder: str) -> None:
    """Keeps what is compiled from now on in `folder` and takes from there what fits; '' does not.

    Each kind of machine and version of XLA has a folder of its own in it: code for one CPU can
    stop with an illegal instruction on another that shares the same home directory.

    For XLA's programs a user's own choice, the environment variable JAX_COMPILATION_CACHE_DIR,
    goes before.
    """
    path = pathlib.Path(folder).expanduser() / _machine() if folder else None
    native.start(path)
    if path is None or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    jax.config.update("jax_compilation_cache_dir", str(path))
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
