"""What is compiled, by XLA and of C++, kept on disk: the next run of its kind starts sooner."""

import contextlib
import hashlib
import os
import pathlib
import platform
import secrets

import jax
import jaxlib.version

from jaxdqn.runtime import hosts, native


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
    if jax.distributed.is_initialized() and "://" not in chosen:  # as a bucket's address has
        jax.config.update("jax_compilation_cache_dir", None)
        if not _is_shared(pathlib.Path(chosen) if chosen else path):
            return
    if chosen or path:
        jax.config.update("jax_compilation_cache_dir", chosen or str(path))
    if chosen or path is None:
        return
    # The many small functions of a start take as long together as the large ones.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _is_shared(folder: pathlib.Path | None) -> bool:
    """Whether all processes have a folder, and it is the same one.

    JAX writes from process 0 alone. Where only that one finds a program at the next start, the
    others compile it, and on GPUs XLA shares the search for the fastest kernels out to all: they
    would wait for process 0 for ever.
    """
    mark = hosts.from_primary(lambda: secrets.token_hex(8))
    path = folder / f"seen-{mark}" if folder else None
    if path and hosts.is_primary():
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    hosts.wait_for_all()
    is_seen = False
    with contextlib.suppress(OSError):
        is_seen = path is not None and path.exists()
    is_shared = hosts.agreed_by_all(is_seen)
    if path and hosts.is_primary():
        with contextlib.suppress(OSError):
            path.unlink()
    return is_shared


def _machine() -> str:
    """A short digest of what compiled code depends on."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = [platform.processor()]
    told = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    facts = (jaxlib.version.__version__, platform.machine(), sorted(told or lines[:1]))
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
