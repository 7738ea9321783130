"""The C++ functions of `agent/cpp`: built by the machine's compiler, kept on disk, known to XLA."""

import concurrent.futures
import contextlib
import ctypes
import hashlib
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile

import jax

from jaxdqn.agent import native as functions

_SOURCES = pathlib.Path(functions.__file__).parent / "cpp"
_OPTIONS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-shared")

_building: concurrent.futures.Future[str] | None = None  # why there are none; empty if there are


def start(folder: pathlib.Path | None) -> None:
    """Begins to build, on a thread of its own, what a CPU needs; the first call counts.

    Args:
      folder: holds what was built before; None: it is built for this process alone.
    """
    global _building
    if _building is not None or jax.default_backend() != "cpu":
        return
    thread = concurrent.futures.ThreadPoolExecutor(1)
    _building = thread.submit(_build_and_register, folder)
    thread.shutdown(wait=False)


def is_ready() -> bool:
    """Whether compiled programs may call the functions; waits for a build that has begun."""
    return _building is not None and not _building.result()


def why_not() -> str:
    """Why the functions cannot be called, in one line; empty where they can, or need not."""
    return "" if _building is None else _building.result()


def _build_and_register(folder: pathlib.Path | None) -> str:
    compiler = shlex.split(os.environ.get("CXX") or "c++")
    if shutil.which(compiler[0]) is None:
        return f"there is no C++ compiler {compiler[0]!r}"
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            library = ctypes.CDLL(str(_built(compiler, folder)))
        except subprocess.CalledProcessError as error:
            return f"the C++ compiler {compiler[0]!r} fails: {_first_line(error.stderr)}"
        except OSError as error:
            return f"what the C++ compiler {compiler[0]!r} builds cannot be kept or used: {error}"
    for name in functions.TARGETS:
        capsule = jax.ffi.pycapsule(getattr(library, name))
        jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    return ""


def _built(compiler: list[str], folder: pathlib.Path) -> pathlib.Path:
    """The library, built unless it lies there already."""
    sources = sorted(path for path in _SOURCES.iterdir() if path.suffix in (".cc", ".h"))
    options = (*_OPTIONS, "-isystem", jax.ffi.include_dir())
    digest = hashlib.sha256(repr((compiler, options)).encode())
    for path in sources:
        digest.update(path.read_bytes())
    library = folder / f"jaxdqn-{digest.hexdigest()[:16]}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Several programs may build at once: each moves what it has made into place, whole.
        with tempfile.TemporaryDirectory(dir=folder, prefix="building-") as temporary:
            made = pathlib.Path(temporary, library.name)
            files = [str(path) for path in sources if path.suffix == ".cc"]
            command = [*compiler, *options, *files, "-o", str(made)]
            subprocess.run(command, check=True, capture_output=True, text=True)
            made.replace(library)
    return library


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "it told nothing")
