"""What a run or a benchmark was made with: versions and hardware, as they are stored beside it."""

import importlib.metadata
import os
import pathlib
import platform
from typing import Any

import jax
import psutil

_PACKAGES = ("jaxdqn", "jax", "jaxlib", "flax", "optax", "envpool", "numpy", "orbax-checkpoint")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results, by name."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in _PACKAGES
    }


def hardware() -> dict[str, Any]:
    """The machine: `cpu`, `cores`, `memory_bytes`, and the kinds of its `devices`."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "devices": [device.device_kind for device in jax.devices()],
    }


def _cpu_model() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
