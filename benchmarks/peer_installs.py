"""Peers in virtual environments of their own: they need other versions of packages."""

import hashlib
import pathlib
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Sequence

from absl import flags

from benchmarks import report
from jaxdqn import errors
from jaxdqn.cli import devices, paths

_COMMON = [
    *("torch==2.13.0", "stable-baselines3==2.9.2", "ale-py==0.12.1", "gymnasium==1.4.0"),
    *("opencv-python-headless==5.0.0.93", "numpy==2.4.6"),
]
PEERS = {
    "stable_baselines3": _COMMON,
    "sb3_contrib": [*_COMMON, "sb3-contrib==2.9.2"],
    "sbx": [*_COMMON, "sbx-rl==0.28.0", "jax==0.10.2", "flax==0.12.8", "optax==0.2.8"],
}

# The flags below belong to the program that defines them: its `--help` shows them.
flags.disclaim_key_flags()


def define_flags() -> None:
    """Defines the flags that say where peers are."""
    flags.DEFINE_multi_string(
        "peer_python",
        [],
        "a peer and a Python that has it, such as sbx=venv/bin/python (default: each is installed "
        "in --peers_dir)",
    )
    flags.DEFINE_string(
        "peers_dir", devices.cache_dir("peers"), "folder in which the peers are installed"
    )


def print_left_out(what: str, error: errors.RunError) -> None:
    """Prints why something is not measured."""
    print(f"{what}: left out: {error}", flush=True)


def pythons(
    peers: Sequence[str],
    peer_python: Iterable[str],
    peers_dir: str,
    leave_out: Callable[[str, errors.RunError], None] = print_left_out,
) -> dict[str, pathlib.Path]:
    """A Python for each peer that can be installed.

    Args:
      peers: their names.
      peer_python: those that the user has, such as 'sbx=venv/bin/python'.
      peers_dir: where the others are installed.
      leave_out: gets the name of a peer that cannot be installed, and why.

    Raises:
      SettingError: there is no such Python, or nothing can be written into the folder.
    """
    given = dict(map(_given, peer_python))
    folder = paths.usable("peers_dir", peers_dir)
    if not given.keys() >= set(peers) and (problem := report.why_not_written(folder)):
        raise errors.SettingError("peers_dir", problem)
    found = {}
    for name in dict.fromkeys(peers):
        try:
            found[name] = given.get(name) or _install(folder / name, PEERS[name])
        except errors.RunError as error:
            leave_out(name, error)
    return found


def _given(text: str) -> tuple[str, pathlib.Path]:
    """'sbx=venv/bin/python' -> a peer and its Python.

    Raises:
      SettingError: there is no such peer or Python.
    """
    name, _, path = text.partition("=")
    python = shutil.which(paths.usable("peer_python", path))
    if name not in PEERS or not python:
        raise errors.SettingError(
            "peer_python",
            f"is {text!r}; must be a peer and its Python, such as sbx=venv/bin/python",
        )
    return name, pathlib.Path(python).absolute()  # its link is what makes it an environment


def _install(folder: pathlib.Path, requirements: list[str]) -> pathlib.Path:
    """Makes a virtual environment with these packages unless it exists; returns its Python.

    Raises:
      RunError: it cannot be created.
    """
    digest = hashlib.sha256(repr((sys.version_info[:2], requirements)).encode()).hexdigest()[:8]
    folder = folder.with_name(f"{folder.name}-{digest}")
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        print(f"installing {' '.join(requirements)} into {folder}", flush=True)
        try:
            venv.create(folder, clear=True, with_pip=True)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            report.run([*pip, *requirements], shows_errors=False)
            ready.touch()
        except (OSError, subprocess.CalledProcessError) as error:
            raise errors.RunError(f"cannot be installed: {error}") from None
    return python
