"""A run's folder: how it is recognized, what may be in it, and whether settings match it."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxdqn import errors
from jaxdqn.distributed import processes, shared_folders
from jaxdqn.envs import registry
from jaxdqn.rundir import folder_errors, metrics, provenance, run_lock, tensorboard, tracking
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import presets, setting
from jaxdqn.storage import atomic_files

CONFIG_FILE = "config.json"
CHECKPOINTS = "checkpoints"
REPLAY = "replay"
NONFINITE = "nonfinite"  # batches that would have spoiled the parameters
_WANDB = "wandb"
VIDEOS = "videos"
_PARTS = tuple(map(atomic_files.part_name, (CONFIG_FILE, metrics.FILE, tracking.FILE)))
_PARTS += (f"{CONFIG_FILE}.part",)  # as earlier versions called it
_DELETED = f"{CHECKPOINTS}.deleted"
# The settings go last: if deletion is interrupted, the folder still is a run.
_OURS = (
    *(CHECKPOINTS, _DELETED, REPLAY, VIDEOS, NONFINITE, metrics.FILE, tensorboard.FOLDER),
    *(tracking.FILE, _WANDB, *_PARTS, CONFIG_FILE),
)
# What file systems and desktops leave in any folder.
_NOBODYS = ("lost+found", ".DS_Store", "Thumbs.db", "desktop.ini", ".directory")
_FORMAT = "jaxdqn-run"
_JAX = "jax"  # in the config: what JAX's environment variables were
SEEN_WITHIN_S = 90.0  # NFS remembers for a minute that a file is not there


def default_path(config: config_lib.Config) -> pathlib.Path:
    """The folder of a run if the user named none."""
    name = f"{registry.game(config.env).plain_name}-{config.preset}-seed{config.seed}"
    return pathlib.Path("runs") / name


def read_settings(path: pathlib.Path) -> dict[str, Any] | None:
    """The settings stored in a run directory; None if the folder is missing or empty.

    Raises:
      SettingError: something else is there.
      RunError: it cannot be read at the moment.
    """
    try:
        if not path.exists():
            return None
        if not path.is_dir():
            raise errors.SettingError("run_dir", f"{path} is not a directory")
        if all(part.name in (*_PARTS, run_lock.FILE, *_NOBODYS) for part in path.iterdir()):
            return None
    except OSError as error:
        raise folder_errors.unusable(path, error) from None
    try:
        return dict(_read(path)["settings"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, OSError) and folder_errors.may_pass(error):
            raise folder_errors.unusable(path, error) from None
        raise errors.SettingError(
            "run_dir", f"{path} is not a run directory: it has files but no {CONFIG_FILE} of a run"
        ) from None


def _read(path: pathlib.Path) -> dict[str, Any]:
    """The content of a run's configuration file.

    Raises:
      OSError: it cannot be read.
      ValueError, KeyError, TypeError, RecursionError: it is another file.
    """
    if not (path / CONFIG_FILE).is_file():  # reading a pipe would never end
        raise FileNotFoundError
    stored = json.loads((path / CONFIG_FILE).read_text())
    if stored["format"] != _FORMAT:
        raise KeyError
    return dict(stored)


def check_same(
    path: pathlib.Path, stored: dict[str, Any], config: config_lib.Config, steps_done: int
) -> None:
    """Refuses to resume a run with other settings.

    It may end earlier or later than planned, unless a schedule spans the whole run. Settings that
    nothing reads may differ, because older versions accepted some that are refused now.

    Args:
      path: of the run.
      stored: the settings that it was begun with.
      config: the settings now.
      steps_done: steps of its newest checkpoint.

    Raises:
      SettingError: names the settings that differ.
    """
    now = _as_stored(dataclasses.asdict(config))
    # A setting that was added after the run began had its default value then.
    stored = _as_stored(dataclasses.asdict(config_lib.Config())) | stored
    known = setting.described(config)
    may_change = {name for name in known if known[name].may_change or config.why_unread(name)}
    if config.total_steps >= steps_done and not config.scheduled_to_the_end:
        may_change.add("total_steps")
    differing = [
        name for name in sorted({*now, *stored} - may_change) if now.get(name) != stored.get(name)
    ]
    if differing:
        shown = [name for name in differing if not _follows(name, differing, now, stored)]
        told = [f"--{name}={now.get(name)} (the run has {stored.get(name)})" for name in shown]
        spans, why = config.scheduled_to_the_end, ""
        if "total_steps" in shown:
            why = f"{steps_done:,} are done; "
            if spans:
                why = f"--total_steps cannot change: --{spans} is reached at the last step; "
        raise errors.SettingError(
            "run_dir",
            f"{path} was started with other settings: {', '.join(told)}; {why}"
            "use the same ones, name another --run_dir, or start over with --overwrite",
        )


def _as_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(settings)))  # in which a tuple is a list


def _follows(name: str, differing: Sequence[str], *both: Mapping[str, Any]) -> bool:
    """Whether a setting differs only because the games or the presets do, which are shown."""
    if name == "preset":
        return "env" in differing
    defaults = dataclasses.asdict(config_lib.Config())
    found = [(side, presets.PRESETS.get(side["preset"])) for side in both]
    return all(
        preset is None or side.get(name) == _as_stored(defaults | dict(preset.settings)).get(name)
        for side, preset in found
    )


def check_same_jax(path: pathlib.Path) -> None:
    """Refuses to resume a run with other values of JAX's environment variables.

    Raises:
      SettingError: names the variable that differs.
    """
    before = provenance.JAX_DEFAULTS | _read(path).get(_JAX, {})
    for name, value in provenance.jax_settings().items():
        if value != before[name]:
            raise errors.SettingError(
                "run_dir",
                f"{path} was started with the environment variable {name}={before[name]}, and now "
                f"it is {value}; set it as before, or use another --run_dir",
            )


def check_writable(path: pathlib.Path) -> None:
    """Refuses a folder that cannot be created or written. Creates nothing.

    Links inside a folder from a stranger would redirect what is written or deleted.

    Raises:
      SettingError: names the folder or the link that is the problem.
    """
    if any(sign in str(path.absolute()) for sign in "[*?"):
        raise errors.SettingError(
            "run_dir",
            f"is {path.absolute()}; Orbax cannot save in a folder whose path has a [, * or ?",
        )
    nearest = path.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise errors.SettingError("run_dir", f"{nearest} is not a directory")
    for part in (nearest, *(path / name for name in _OURS)):
        if part.exists() and not os.access(part, os.W_OK):
            raise errors.SettingError("run_dir", f"{part} cannot be written")
    for name in (*_OURS, run_lock.FILE):
        for link in _links(path / name):
            raise errors.SettingError(
                "run_dir", f"{link} is a symbolic link; a run's own files must not be links"
            )


def _links(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Symbolic links at or below a path; they are not followed."""
    if path.is_symlink():
        yield path
    elif path.name != _WANDB:  # which makes links of its own
        for folder, folders, names in os.walk(path):
            parts = (pathlib.Path(folder, name) for name in (*folders, *names))
            yield from (part for part in parts if part.is_symlink())


def _write(path: pathlib.Path, stored: dict[str, Any]) -> None:
    with atomic_files.replacement(path / CONFIG_FILE) as part:
        part.write_text(json.dumps(stored, indent=2) + "\n")


def create(path: pathlib.Path, config: config_lib.Config) -> None:
    """Creates the folder of a new run with its `config.json`.

    Raises:
      SettingError: the folder cannot be created.
    """
    stored = {
        "format": _FORMAT,
        "settings": dataclasses.asdict(config),
        _JAX: provenance.jax_settings(),
        "expected": presets.PRESETS[config.preset].expected,
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        _write(path, stored)
    except OSError as error:
        raise folder_errors.unusable(path, error) from None


def store_length(path: pathlib.Path, config: config_lib.Config) -> None:
    """Stores how many steps a run is to have, which may have changed since it began.

    Raises:
      RunError, SettingError: it cannot be stored.
    """
    try:
        stored = _read(path)
        if stored["settings"].get("total_steps") != config.total_steps:
            stored["settings"]["total_steps"] = config.total_steps
            _write(path, stored)
    except OSError as error:
        raise folder_errors.unusable(path, error) from None


def check_shared(path: pathlib.Path) -> None:
    """Checks that all processes see the same folder. All must call it together.

    Raises:
      RunError: some processes see another folder.
      SettingError, RunError: process 0 cannot write there.
    """
    if processes.count() == 1:
        return
    try:
        is_shared = shared_folders.is_shared(path, SEEN_WITHIN_S)
    except OSError as error:
        raise folder_errors.unusable(path, error) from None
    if not is_shared:
        raise errors.RunError(
            f"--run_dir: {path} is not the same folder in all processes: it must be on a disk that "
            "all of them see"
        )


def clear(path: pathlib.Path) -> None:
    """Deletes what a run wrote into its folder, and nothing else.

    All checkpoints go at once, and before all else: if deletion is interrupted, the next start
    resumes from none. If something cannot be deleted, the settings stay, and the rest goes.

    Raises:
      RunError: something cannot be deleted.
    """
    _discard(path / _DELETED)
    try:
        (path / CHECKPOINTS).rename(path / _DELETED)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _undeletable(path / CHECKPOINTS, error) from None
    marks = [mark.name for mark in path.glob(f"{shared_folders.MARK}*")]  # of one killed meanwhile
    problem = None
    for name in (*marks, *(name for name in _OURS if name != CONFIG_FILE)):
        try:
            _discard(path / name)
        except errors.RunError as error:
            problem = problem or error
    if problem:
        raise problem
    _discard(path / CONFIG_FILE)


def _discard(path: pathlib.Path) -> None:
    try:
        atomic_files.discard(path)
    except OSError as error:
        raise _undeletable(path, error) from None


def _undeletable(path: pathlib.Path, error: OSError) -> errors.RunError:
    """A network disk, for example, keeps a folder in which another program has a file open."""
    return errors.RunError(f"--overwrite: {path} cannot be deleted: {error.strerror}")
