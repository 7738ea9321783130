"""Builds the C++ functions in `kernels/cpp`, keeps them on disk and registers them with XLA.

The name of a kept library holds the digest of what it was built from and that of its own bytes. It
gets this name when it is complete and has been loaded once. Its bytes are checked before it is
loaded again: code in a damaged file can crash a process.
"""

import concurrent.futures
import contextlib
import ctypes
import hashlib
import os
import pathlib
import platform
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

import jax

from jaxdqn import wording
from jaxdqn.kernels import native_calls as functions
from jaxdqn.storage import atomic_files

_SOURCES = pathlib.Path(functions.__file__).parent / "cpp"
_OPTIONS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-shared")
_BUILDING = "building-"  # prefix of a folder in which a library is built
_BUILD_LIMIT_S = 300  # for the compiler; it usually needs 2

_building: concurrent.futures.Future[str] | None = (
    None  # why there is no library; empty if there is one
)


class UnavailableError(Exception):
    """Why there is no library, in one line."""


class _HangingError(UnavailableError):
    """A compiler hangs; it is not started again."""


def start(folder: pathlib.Path | None) -> None:
    """Starts to build the library for CPUs on its own thread; only the first call counts.

    Args:
      folder: keeps the library; None: it is built for this process only.
    """
    global _building
    if _building is not None or jax.default_backend() != "cpu":
        return
    thread = concurrent.futures.ThreadPoolExecutor(1)
    _building = thread.submit(_load_and_register, folder)
    thread.shutdown(wait=False)


def is_ready() -> bool:
    """Whether compiled programs may call the functions; waits for a build that has begun."""
    return _building is not None and not _building.result()


def why_not() -> str:
    """Why the functions cannot be called, in one line; empty if they can, or are not needed."""
    return "" if _building is None else _building.result()


def load(folder: pathlib.Path | None, version_limit_s: float = 10) -> ctypes.CDLL:
    """Loads the library kept in a folder, or builds it and keeps it there.

    A folder that cannot be used only costs the time to build.

    Args:
      folder: created if it is missing; None: nothing is kept.
      version_limit_s: for the compiler to print its version.

    Raises:
      UnavailableError: there is no library, and none can be built.
    """
    compiler = _compiler()
    try:
        sources = sorted(path for path in _SOURCES.iterdir() if path.suffix in (".cc", ".h"))
        options = (*_OPTIONS, "-isystem", jax.ffi.include_dir())
        made_of = (compiler, _version(compiler, version_limit_s), platform.libc_ver(), options)
        digest = hashlib.sha256(repr(made_of).encode())
        for path in sources:
            digest.update(path.read_bytes())
    except OSError as error:
        problem = wording.one_line(error)
        raise UnavailableError(f"the C++ sources cannot be read: {problem}") from None
    stem = f"jaxdqn-{digest.hexdigest()[:16]}-"
    command = (*compiler, *options, *(str(path) for path in sources if path.suffix == ".cc"))
    if folder is not None:
        kept = _load_kept(folder, stem)
        if kept is not None:
            return kept
        try:
            return _build(command, folder, stem)
        except _HangingError:
            raise
        except UnavailableError:
            pass  # the disk may be full or forbid execution; another one may work
    return _build(command, None, stem)


def _load_and_register(folder: pathlib.Path | None) -> str:
    try:
        library = load(folder)
    except UnavailableError as error:
        return str(error)
    for name in functions.TARGETS:
        capsule = jax.ffi.pycapsule(getattr(library, name))
        jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    return ""


def _compiler() -> tuple[str, ...]:
    """The compiler command that the user names, or the usual one."""
    named = os.environ.get("CXX") or "c++"
    try:
        words = shlex.split(named)
    except ValueError as error:
        problem = wording.one_line(error)
        raise UnavailableError(f"CXX={named!r} is not a command: {problem}") from None
    if not words:
        raise UnavailableError(f"CXX={named!r} names no C++ compiler")
    if shutil.which(words[0]) is None:
        raise UnavailableError(f"there is no C++ compiler {words[0]!r}")
    return tuple(words)


def _version(compiler: tuple[str, ...], limit_s: float) -> str:
    """A compiler's version; empty if it does not know `--version`."""
    try:
        result = _run((*compiler, "--version"), limit_s, LC_ALL="C")
    except subprocess.TimeoutExpired:
        problem = f"does not print its version within {limit_s} s"
        raise _HangingError(f"the C++ compiler {compiler[0]!r} {problem}") from None
    return result.stdout if result.returncode == 0 else ""


def _load_kept(folder: pathlib.Path, stem: str) -> ctypes.CDLL | None:
    """The library in a folder; a damaged one is deleted and not loaded."""
    try:
        paths = [path for path in folder.iterdir() if path.name.startswith(stem)]
    except OSError:
        return None
    for path in paths:
        with contextlib.suppress(OSError):
            if path.is_file() and path.name == _kept_name(path, stem):
                return _loaded(path)
        with contextlib.suppress(OSError):
            atomic_files.discard(path)
    return None


def _build(command: tuple[str, ...], folder: pathlib.Path | None, stem: str) -> ctypes.CDLL:
    """Builds the library in a temporary folder and loads it; keeps it in `folder` if possible."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            _delete_abandoned(folder)
        with tempfile.TemporaryDirectory(
            dir=folder, prefix=_BUILDING, ignore_cleanup_errors=True
        ) as temporary:
            made = pathlib.Path(temporary, "jaxdqn.so")
            _compile((*command, "-o", str(made)), temporary)
            library = _loaded(made)
            if folder is not None:
                # Several programs may build at once. Each moves its complete file into place and
                # touches no file that another one may have loaded.
                with contextlib.suppress(OSError):
                    made.replace(folder / _kept_name(made, stem))
            return library
    except OSError as error:
        problem = f"the library built by the C++ compiler {command[0]!r} cannot be saved or loaded"
        raise UnavailableError(f"{problem}: {wording.one_line(error)}") from None


def _compile(command: tuple[str, ...], temporary: str) -> None:
    try:
        result = _run(command, _BUILD_LIMIT_S, TMPDIR=temporary)
    except subprocess.TimeoutExpired:
        problem = f"does not finish within {_BUILD_LIMIT_S} s"
        raise _HangingError(f"the C++ compiler {command[0]!r} {problem}") from None
    if result.returncode:
        lines = (line for line in result.stderr.splitlines() if line.strip())
        told = " ".join(next(lines, "it printed nothing").split())
        raise UnavailableError(f"the C++ compiler {command[0]!r} fails: {told}")


def _loaded(path: pathlib.Path) -> ctypes.CDLL:
    """Loads a library that has the functions.

    Raises:
      OSError: it cannot be loaded, or lacks a function.
    """
    library = ctypes.CDLL(str(path))
    for name in functions.TARGETS:
        if not hasattr(library, name):
            raise OSError(f"{path} has no function {name}")
    return library


def _kept_name(path: pathlib.Path, stem: str) -> str:
    return f"{stem}{hashlib.sha256(path.read_bytes()).hexdigest()}.so"


def _delete_abandoned(folder: pathlib.Path) -> None:
    """Deletes folders of programs that were killed while building."""
    for path in folder.glob(f"{_BUILDING}*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - 2 * _BUILD_LIMIT_S:
                atomic_files.discard(path)


def _run(
    command: tuple[str, ...], limit_s: float, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command without input; after the time limit, kills it and its children.

    Raises:
      TimeoutExpired: it was killed.
      UnavailableError: it cannot be started.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",  # the message of a compiler may be in any encoding
            env={**os.environ, **environment},
            process_group=0,
        )
    except OSError as error:
        problem = f"cannot be started: {wording.one_line(error)}"
        raise UnavailableError(f"the C++ compiler {command[0]!r} {problem}") from None
    with process:
        try:
            stdout, stderr = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
