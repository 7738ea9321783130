"""Starts JAX. Programs do so only after their flags have been checked."""

import os
import pathlib

from absl import flags

from jaxdqn import errors
from jaxdqn.cli import paths, program

# The flags below belong to the program that defines them: its `--help` shows them.
flags.disclaim_key_flags()


def cache_dir(name: str) -> str:
    """The default folder for files that can be rebuilt, with '~' not expanded."""
    return str(pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "jaxdqn", name))


def define_compilation_cache() -> None:
    """Defines the flag for the folder of compiled programs."""
    flags.DEFINE_string(
        "compilation_cache_dir",
        cache_dir("compiled"),
        "cache folder for compiled programs, so that later runs start faster; empty: no cache",
    )


def import_jax() -> None:
    """Imports JAX. This takes seconds, which `--help` and wrong settings do not need.

    Raises:
      RunError: an environment variable asks for something that this package cannot do.
    """
    import jax

    jax.config.update("jax_numpy_dtype_promotion", "standard")
    if jax.config.jax_disable_jit:
        raise errors.RunError("JAX_DISABLE_JIT is set; unset it: everything here runs compiled")


def start_devices() -> None:
    """Makes JAX find the devices, and starts to keep what is compiled for them.

    Raises:
      SettingError: the folder for compiled programs cannot be used.
      RunError: there are no devices of the kind that JAX is asked for.
    """
    import_jax()

    from jaxdqn.assembly import compilation_cache
    from jaxdqn.distributed import mesh

    mesh.check_devices()
    name = "compilation_cache_dir"
    folder: str = flags.FLAGS[name].value or ""
    if flags.FLAGS[name].present and folder:
        folder = str(paths.usable(name, folder))
    compilation_cache.use_cache(folder, program.at_exit)
