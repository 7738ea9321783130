"""Building the C++ functions: what is kept, and what is told where it cannot be done."""

import sys

import pytest

from jaxdqn.runtime import native


def files(folder):
    return [path.name for path in folder.iterdir()]


def test_what_was_built_is_kept(tmp_path):
    library = native._built(["c++"], tmp_path)
    made = library.stat().st_mtime_ns
    assert files(tmp_path) == [library.name]
    assert native._built(["c++"], tmp_path).stat().st_mtime_ns == made


def test_without_a_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -g")
    told = native._build_and_register(tmp_path)
    assert told == "there is no C++ compiler 'no-such-compiler'"


@pytest.mark.parametrize("folder", ["there", "new/er"])
def test_a_compiler_that_fails_leaves_nothing(tmp_path, monkeypatch, folder):
    script = tmp_path / "fails.py"
    script.write_text("import sys; sys.exit('first line\\nsecond line')")
    monkeypatch.setenv("CXX", f"{sys.executable} {script}")
    told = native._build_and_register(tmp_path / folder)
    assert told == f"the C++ compiler {sys.executable!r} fails: first line"
    assert files(tmp_path / folder) == []


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    (tmp_path / "file").write_text("")
    told = native._build_and_register(tmp_path / "file" / "folder")
    assert told.startswith("what the C++ compiler 'c++' builds cannot be kept or used: ")
