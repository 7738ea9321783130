"""The versions and hardware that a run or a benchmark was made with, as they are stored with it."""

import hashlib
import importlib.metadata
import pathlib
import platform
import sys
from collections.abc import Mapping
from typing import Any

import jax
import psutil

import jaxdqn
from jaxdqn import machine
from jaxdqn.settings import registry

_PACKAGES = (
    *("jaxdqn", "jax", "jaxlib", "flax", "optax", "envpool", "gymnasium", "numpy"),
    *("ale-py", "orbax-checkpoint"),
)

# JAX's settings that change the numbers of a run, by the names of their environment variables, with
# their default values.
JAX_DEFAULTS: Mapping[str, Any] = {
    "JAX_DEFAULT_MATMUL_PRECISION": None,
    "JAX_DEFAULT_PRNG_IMPL": "threefry2x32",
    "JAX_ENABLE_X64": False,
    "JAX_RANDOM_SEED_OFFSET": 0,
    "JAX_THREEFRY_PARTITIONABLE": True,
}


def jax_settings() -> dict[str, Any]:
    """The values of `JAX_DEFAULTS` in this process."""
    return {name: getattr(jax.config, name.lower()) for name in JAX_DEFAULTS}


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that decide results, by name; None: not installed."""
    return {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES}


def code(folder: pathlib.Path = pathlib.Path(jaxdqn.__file__).parent) -> str:
    """A digest of the program's sources and of its plugins: versions do not tell of local changes.

    Args:
      folder: of the sources.
    """
    digest = hashlib.sha256()
    files = [path for path in folder.rglob("*") if path.suffix in (".py", ".cc", ".h")]
    for path in sorted(files):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes())
    for name in registry.plugins():
        if file := getattr(sys.modules[name], "__file__", None):
            digest.update(pathlib.Path(file).read_bytes())
    return digest.hexdigest()


def hardware() -> dict[str, Any]:
    """The machine: `cpu`, `cores` that this process may use, `memory_bytes`, kinds of `devices`."""
    return {
        "cpu": _cpu_model(),
        "cores": machine.cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "devices": [device.device_kind for device in jax.devices()],
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # run from a copy of the sources
        return None


def _cpu_model() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
