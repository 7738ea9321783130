"""A run's folder: what makes it one, what may be in it, and whether settings fit it."""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
from typing import Any

import jax

from jaxdqn import config as config_lib
from jaxdqn import presets
from jaxdqn.envs import games
from jaxdqn.runtime import metrics

CONFIG_FILE = "config.json"
CHECKPOINTS = "checkpoints"
_OURS = (CONFIG_FILE, CHECKPOINTS, metrics.FILE, "tensorboard")
_FORMAT = "jaxdqn-run"
_PACKAGES = ("jaxdqn", "jax", "jaxlib", "flax", "optax", "envpool", "numpy", "orbax-checkpoint")


def default_path(config: config_lib.Config) -> pathlib.Path:
    """The folder of a run whose user named none."""
    name = f"{games.plain_name(config.env)}-{config.preset}-seed{config.seed}"
    return pathlib.Path("runs") / name


def read_settings(path: pathlib.Path) -> dict[str, Any] | None:
    """The settings stored in a run directory, or None where nothing or an empty folder lies.

    Raises:
      SettingError: there is something else.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    if not path.is_dir():
        raise config_lib.SettingError("run_dir", f"{path} is not a directory")
    try:
        stored = json.loads((path / CONFIG_FILE).read_text())
        if stored["format"] != _FORMAT:
            raise KeyError
        return dict(stored["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        raise config_lib.SettingError(
            "run_dir", f"{path} is not a run directory: it has files but no {CONFIG_FILE} of a run"
        ) from None


def check_same(path: pathlib.Path, stored: dict[str, Any], config: config_lib.Config) -> None:
    """Refuses to go on with a run under other settings.

    Raises:
      SettingError: names the settings that differ.
    """
    now = json.loads(json.dumps(dataclasses.asdict(config)))
    differing = [
        f"--{name}={now.get(name)} (the run has {stored.get(name)})"
        for name in sorted({*now, *stored})
        if now.get(name) != stored.get(name)
    ]
    if differing:
        raise config_lib.SettingError(
            "run_dir",
            f"{path} was begun with other settings: {', '.join(differing)}; "
            "give the same, another --run_dir, or --overwrite to start anew",
        )


def check_writable(path: pathlib.Path) -> None:
    """Refuses a folder that cannot be made or written, without making anything.

    Raises:
      SettingError: names the folder that stands in the way.
    """
    nearest = path.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise config_lib.SettingError("run_dir", f"{path} cannot be written: see {nearest}")


def create(path: pathlib.Path, config: config_lib.Config) -> None:
    """Makes the folder of a new run with its `config.json`.

    Raises:
      SettingError: the folder cannot be made.
    """
    stored = {
        "format": _FORMAT,
        "settings": dataclasses.asdict(config),
        "expected": presets.PRESETS[config.preset].expected,
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "hardware": {
            "host": platform.machine(),
            "cores": os.cpu_count(),
            "devices": [device.device_kind for device in jax.devices()],
        },
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        part = path / f"{CONFIG_FILE}.part"
        part.write_text(json.dumps(stored, indent=2) + "\n")
        part.rename(path / CONFIG_FILE)
    except OSError as error:
        raise config_lib.SettingError("run_dir", f"{path} cannot be written: {error}") from None


def clear(path: pathlib.Path) -> None:
    """Deletes what a run wrote into its folder, and nothing else that lies there."""
    for name in _OURS:
        part = path / name
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.rmdir()  # it stays where a user keeps other files in it
