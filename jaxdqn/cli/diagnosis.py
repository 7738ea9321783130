"""What a machine has that runs need, as lines for people."""

import pathlib
import platform
import shutil
from collections.abc import Iterator
from typing import NamedTuple

from jaxdqn import errors, extras, machine
from jaxdqn.envs import api, registry

_NOT_FOR_USERS = ("dev", "docs", "aot", "bench", "cuda12", "cuda13", "tpu")  # extras


class Finding(NamedTuple):
    """Something that was looked at."""

    subject: str
    text: str  # in one line or a few
    is_fatal: bool = False  # no run can train without it


def findings() -> Iterator[Finding]:
    """Looks at everything, the quickest first. JAX must have been started."""
    yield _system()
    yield _packages()
    yield _devices()
    yield _memory()
    yield _compiler()
    yield _emulators()
    yield from _extras()
    yield _film()


def _system() -> Finding:
    from jaxdqn import __version__

    return Finding(
        "jaxdqn", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"
    )


def _packages() -> Finding:
    from jaxdqn.rundir import provenance

    found = provenance.versions().items()
    text = (f"{name} {version or 'is missing'}" for name, version in found)
    return Finding("packages", ", ".join(text))


def _devices() -> Finding:
    import jax

    kinds = [device.device_kind for device in jax.devices()]
    text = ", ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds))
    if jax.default_backend() == "cpu":
        text += f" ({machine.cores()} cores)"
        if shutil.which("nvidia-smi") or pathlib.Path("/dev/nvidia0").exists():
            text += "\nA GPU is there, but this JAX cannot use it: pip install 'jax[cuda13]'"
    return Finding("devices", text)


def _memory() -> Finding:
    from jaxdqn.assembly import memory
    from jaxdqn.distributed import mesh

    free = memory.free_device_bytes(mesh.make_mesh())
    text = f"{free / 1e9:.1f} GB free for the replay"
    if free < 8e9:
        text += "; a million steps of Atari need 7.1 GB, and fewer are kept where less is free"
    return Finding("memory", text)


def _compiler() -> Finding:
    import jax

    from jaxdqn.kernels import native_library

    if jax.default_backend() != "cpu":
        return Finding("compiler", "not needed on this device")
    problem = native_library.why_not()
    if problem:
        problem += "\nupdates of images take 1.3 times as long; install a C++ compiler, or set $CXX"
    return Finding("compiler", problem or "fast convolutions are built")


def _emulators() -> Finding:
    try:
        env = registry.make(registry.resolve("CartPole"), 2, 0, {})
        env.receive()
        env.close()
        games = sum(1 for name in registry.plain_names() if _is_atari(name))
    except (api.UnknownGameError, api.UnsupportedEnvError, errors.RunError) as error:
        return Finding("games", f"none can be played: {error}", is_fatal=True)
    return Finding("games", f"{games} Atari games, and more in docs/environments.md")


def _is_atari(name: str) -> bool:
    return registry.game(registry.resolve(name)).family == api.ATARI


def _extras() -> Iterator[Finding]:
    """What is missing of the package's extras, and how to get it."""
    for extra in extras.known():
        if extra not in _NOT_FOR_USERS:
            found = (
                f"missing; {extras.installation(extra)}" if extras.missing(extra) else "installed"
            )
            yield Finding(extra, found)


def _film() -> Finding:
    import imageio_ffmpeg

    try:
        return Finding("films", f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()}")
    except RuntimeError as error:
        return Finding("films", f"no ffmpeg: {error}")
