"""Folders that take the place of others."""

import os
import pathlib

import pytest

from jaxdqn import errors
from jaxdqn.storage import atomic_files


@pytest.fixture
def out(tmp_path):
    """A folder with an older file."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    return tmp_path / "out"


def write(path):
    with atomic_files.whole_folder(path) as part:
        (part / "new").touch()


def names(path):
    return sorted(each.name for each in path.iterdir())


def test_a_folder_gives_way_to_another(out):
    write(out)
    assert names(out) == ["new"] and names(out.parent) == ["out"]


def test_a_folder_stays_if_nothing_can_take_its_place(out, monkeypatch):
    rename = pathlib.Path.rename

    def fail(self, target):
        if (self / "new").exists():
            raise OSError("it is in use")
        return rename(self, target)

    monkeypatch.setattr(pathlib.Path, "rename", fail)
    with pytest.raises(errors.RunError, match="out cannot be written: it is in use"):
        write(out)
    assert names(out) == ["old"] and names(out.parent) == ["out"]


def test_an_older_folder_is_kept_until_the_new_one_is_there(out, monkeypatch):
    seen = []
    rename = pathlib.Path.rename

    def look(self, target):
        seen.append(any((each / "old").exists() for each in out.parent.iterdir()))
        return rename(self, target)

    monkeypatch.setattr(pathlib.Path, "rename", look)
    write(out)
    assert all(seen) and seen


def test_what_a_link_names_is_replaced(out):
    link = out.with_name("link")
    link.symlink_to(out)
    write(link)
    assert link.is_symlink() and names(link) == names(out) == ["new"]
    assert names(out.parent) == ["link", "out"]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, synced, fsync = tmp_path / "file", [], os.fsync

    def note(number):
        synced.append((os.path.samestat(os.fstat(number), tmp_path.stat()), path.exists()))
        fsync(number)

    monkeypatch.setattr(os, "fsync", note)
    with atomic_files.whole(path) as part:
        part.write_text("content")
    assert synced == [(False, False), (True, True)]  # the file, and then the folder
    assert path.read_text() == "content"


def test_a_file_is_refused_before_the_work(tmp_path):
    (tmp_path / "out").touch()
    with (
        pytest.raises(errors.RunError, match="out cannot be written: it is no folder"),
        atomic_files.whole_folder(tmp_path / "out"),
    ):
        pytest.fail("work began")
    assert names(tmp_path) == ["out"]
