"""Building the C++ functions: what is kept, what is loaded, and what is told where it cannot be."""

import concurrent.futures
import hashlib
import os
import pathlib
import shlex
import sys
import time

import pytest

from jaxdqn.kernels import native_library


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """One that the machine's compiler built."""
    folder = tmp_path_factory.mktemp("library")
    native_library.load(folder)
    (path,) = folder.iterdir()
    return path


class Compiler:
    """Tells its version, and has built the library before. `CXX` names it."""

    def __init__(self, folder, library):
        self.version, self.calls = folder / "version", folder / "calls"
        self.use_version("1.0")
        script = folder / "compiler"
        script.write_text(
            "#!/bin/sh\n"
            f"test \"$1\" = --version && exec cat '{self.version}'\n"
            f"echo >> '{self.calls}'\n"
            'while test "$1" != -o; do shift; done\n'
            f"exec cp '{library}' \"$2\"\n"
        )
        script.chmod(0o755)
        os.environ["CXX"] = shlex.quote(str(script))

    def use_version(self, version):
        self.version.write_text(f"compiler {version}\n")

    def times_called(self):
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def compiler(tmp_path, monkeypatch, library):
    monkeypatch.setenv("CXX", "")
    (tmp_path / "compiler").mkdir()
    return Compiler(tmp_path / "compiler", library)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "new" / "folder"


def put(path, data):
    """Puts a file in another's place, which a process may have loaded."""
    other = path.with_name("other")
    other.write_bytes(data)
    other.replace(path)


def assert_whole(folder):
    """One library lies there, with the checksum that its name tells."""
    (path,) = folder.iterdir()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name.startswith("jaxdqn-") and path.name.endswith(f"-{digest}.so")


def test_what_was_built_is_kept(folder, compiler):
    native_library.load(folder)
    assert_whole(folder)
    kept = {path: path.stat() for path in folder.iterdir()}
    native_library.load(folder)
    assert compiler.times_called() == 1
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == {
        path: stat.st_mtime_ns for path, stat in kept.items()
    }


ELF = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + bytes.fromhex("03003e00") + b"\1".ljust(5000, b"\0")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: ELF,
        lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
    ],
    ids=["truncated", "empty", "garbage", "a flipped bit"],
)
def test_a_damaged_library_is_built_anew(folder, compiler, damage):
    native_library.load(folder)
    (path,) = folder.iterdir()
    put(path, damage(path.read_bytes()))
    native_library.load(folder)
    assert compiler.times_called() == 2
    assert_whole(folder)


@pytest.mark.parametrize("data", [ELF, b"no library"], ids=["garbage", "text"])
def test_a_library_that_does_not_load_is_built_anew(folder, compiler, data):
    """Although it is what was written: for another C library, for instance."""
    native_library.load(folder)
    (path,) = folder.iterdir()
    stem = path.name.rpartition("-")[0]
    path.unlink()
    (folder / f"{stem}-{hashlib.sha256(data).hexdigest()}.so").write_bytes(data)
    native_library.load(folder)
    assert compiler.times_called() == 2
    assert_whole(folder)


def test_a_folder_in_a_librarys_place_gives_way(folder, compiler):
    native_library.load(folder)
    (path,) = folder.iterdir()
    path.unlink()
    (path / "more").mkdir(parents=True)
    native_library.load(folder)
    assert_whole(folder)


def test_each_version_of_a_compiler_has_its_own_library(folder, compiler):
    native_library.load(folder)
    before = files(folder)
    compiler.use_version("2.0")
    native_library.load(folder)
    assert compiler.times_called() == 2
    assert len(files(folder)) == 2 and set(before) < set(files(folder))
    compiler.use_version("1.0")
    native_library.load(folder)
    assert compiler.times_called() == 2


def test_several_build_at_once(folder, compiler):
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(native_library.load, [folder] * 4))
    assert_whole(folder)


@pytest.mark.parametrize("place", ["file", "file/folder", "x" * 300])
def test_a_folder_that_cannot_be_used_costs_no_library(tmp_path, compiler, place):
    (tmp_path / "file").write_text("")
    native_library.load(tmp_path / place)
    assert files(tmp_path) == ["compiler", "file"]


def test_what_a_killed_build_left_is_deleted(folder, compiler):
    abandoned, under_way = folder / "building-a", folder / "building-b"
    for path in (abandoned, under_way):
        path.mkdir(parents=True)
        (path / "jaxdqn.so").write_text("")
    os.utime(abandoned, (0, 0))
    native_library.load(folder)
    assert not abandoned.exists() and under_way.exists()


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (" ", "CXX=' ' names no C++ compiler"),
        ('g++ "x', "CXX='g++ \"x' is not a command: No closing quotation"),
        ("no-such-compiler -g", "there is no C++ compiler 'no-such-compiler'"),
        ("{folder}", "there is no C++ compiler '{folder}'"),
        ("{folder}/text", "there is no C++ compiler '{folder}/text'"),
        ("{folder}/program", "the C++ compiler '{folder}/program' cannot be started: "),
        ("true", "the library built by the C++ compiler 'true' cannot be saved or loaded: "),
        (
            "c++ -fsyntax-only",
            "the library built by the C++ compiler 'c++' cannot be saved or loaded: ",
        ),
    ],
)
def test_a_compiler_that_cannot_be_used_is_told_in_a_line(tmp_path, monkeypatch, named, told):
    (tmp_path / "text").write_text("")
    (tmp_path / "program").write_text("not for any machine\0")
    (tmp_path / "program").chmod(0o755)
    monkeypatch.setenv("CXX", named.format(folder=tmp_path))
    with pytest.raises(native_library.UnavailableError) as error:
        native_library.load(tmp_path / "kept")
    assert str(error.value).startswith(told.format(folder=tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["there", "new/er"])
def test_a_compiler_that_fails_leaves_nothing(tmp_path, monkeypatch, place):
    script = tmp_path / "fails.py"
    script.write_text(r"import os; os.write(2, b'first \xff line\nsecond line'); os._exit(1)")
    monkeypatch.setenv("CXX", f"{sys.executable} {script}")
    with pytest.raises(native_library.UnavailableError) as error:
        native_library.load(tmp_path / place)
    assert str(error.value) == f"the C++ compiler {sys.executable!r} fails: first \ufffd line"
    assert files(tmp_path / place) == []


def test_a_library_without_the_functions(tmp_path, monkeypatch):
    script = tmp_path / "compiler"
    empty = tmp_path / "empty.cc"
    empty.write_text("")
    script.write_text(
        '#!/bin/sh\nwhile test "$1" != -o; do shift; done\n'
        f"exec c++ -shared -fPIC '{empty}' -o \"$2\"\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    with pytest.raises(
        native_library.UnavailableError, match="has no function jaxdqn_convolution_forward"
    ):
        native_library.load(tmp_path / "kept")
    assert files(tmp_path / "kept") == []


def test_a_compiler_that_never_tells_its_version_is_ended(tmp_path, monkeypatch):
    """With all that it started, although that still holds its output open."""
    script, number = tmp_path / "hangs", tmp_path / "number"
    script.write_text(f"#!/bin/sh\nsleep 1000 & echo $! > '{number}'; wait\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    with pytest.raises(
        native_library.UnavailableError, match="does not print its version within 1 s"
    ):
        native_library.load(tmp_path / "kept", version_limit_s=1)
    stat = pathlib.Path("/proc", number.read_text().strip(), "stat")

    def is_gone():
        try:
            return stat.read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    until = time.monotonic() + 60
    while not is_gone():
        assert time.monotonic() < until
        time.sleep(0.01)
