"""Compiled programs on disk: damaged ones are made anew, and a useless folder is done without."""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess

import jax
import jax.numpy as jnp
import pytest

from jaxdqn.assembly import program_cache
from tests import program

SHORT = ("--total_steps=500", "--learning_starts_steps=400", "--eval_episodes=0")
SHORT += ("--held_out_observations=0",)


@pytest.fixture(scope="module")
def written():
    """What JAX writes for a program: a name, and bytes."""
    folder = pathlib.Path(jax.config.jax_compilation_cache_dir)

    @jax.jit
    def compiled_for_this_test(x):
        return x * jnp.float32(3.25)

    compiled_for_this_test(jnp.ones(7)).block_until_ready()
    (path,) = folder.glob("jit_compiled_for_this_test-*-cache")
    return path.name, path.read_bytes()


@pytest.fixture
def entry(tmp_path, written):
    """One program in a folder, which is not known yet."""
    path = tmp_path / written[0]
    path.write_bytes(written[1])
    return path


def listed(folder):
    """Names that lie there and have the checksums listed, as `sha256sum` finds."""
    told = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=folder, capture_output=True, text=True
    )
    lines = told.stdout.splitlines()
    return sorted(line.removesuffix(": OK") for line in lines if line.endswith(": OK"))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def put_a_folder(path):
    path.unlink()
    (path / "more").mkdir(parents=True)


def put_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def put_a_link_to_nothing(path):
    path.unlink()
    path.symlink_to("nothing")


DAMAGES = [truncate, empty, flip_a_bit, put_a_folder, put_a_pipe, put_a_link_to_nothing]


def test_a_whole_program_stays(entry):
    data, time = entry.read_bytes(), entry.stat().st_mtime_ns
    for _ in range(2):
        assert program_cache.check(entry.parent) == (True, True)
        assert listed(entry.parent) == [entry.name]
    assert entry.read_bytes() == data and entry.stat().st_mtime_ns == time
    assert sorted(path.name for path in entry.parent.iterdir()) == ["SHA256SUMS", entry.name]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_program_is_deleted(entry, damage):
    program_cache.check(entry.parent)
    damage(entry)
    assert program_cache.check(entry.parent) == (True, True)
    assert [path.name for path in entry.parent.iterdir()] == ["SHA256SUMS"]
    assert (entry.parent / "SHA256SUMS").read_text() == ""


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage is not flip_a_bit])
def test_a_part_of_a_program_is_not_listed_but_deleted(entry, damage):
    damage(entry)
    assert program_cache.check(entry.parent) == (True, True)
    assert [path.name for path in entry.parent.iterdir()] == ["SHA256SUMS"]
    assert (entry.parent / "SHA256SUMS").read_text() == ""


def test_a_program_with_another_checksum_is_deleted(entry):
    """Although it can be decompressed: a format without checksums of its own may hide a flip."""
    program_cache.check(entry.parent)
    sums = entry.parent / "SHA256SUMS"
    sums.write_text(f"{hashlib.sha256(b'').hexdigest()}  {entry.name}\n")
    assert program_cache.check(entry.parent) == (True, True)
    assert not entry.exists()


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit, put_a_folder, put_a_pipe])
def test_a_damaged_list_is_written_anew(entry, damage):
    sums = entry.parent / "SHA256SUMS"
    sums.write_bytes(b"\xff\0no list\n" * 20)
    damage(sums)
    assert program_cache.check(entry.parent) == (True, True)
    assert listed(entry.parent) == [entry.name]


def test_other_files_stay(entry):
    for name in ("jaxdqn-1.so", "notes", "x-cache.old", "seen-1"):
        (entry.parent / name).write_text("")
    before = sorted(path.name for path in entry.parent.iterdir())
    program_cache.check(entry.parent)
    assert sorted(path.name for path in entry.parent.iterdir()) == sorted([*before, "SHA256SUMS"])


def test_the_notes_of_xla_for_gpus_are_checked_too(tmp_path):
    """XLA takes a note that it cannot read for an error of the program that it compiles."""
    folder = tmp_path / "xla_gpu_per_fusion_autotune_cache_dir"
    (folder / "tmp").mkdir(parents=True)
    for name in ("a", "b", "c"):
        (folder / f"{name}.textproto").write_text("gemm { algorithm: 4 }\n")
    empty(folder / "a.textproto")
    assert program_cache.check(tmp_path) == (True, True)
    assert listed(tmp_path) == [f"{folder.name}/{name}.textproto" for name in "bc"]
    flip_a_bit(folder / "b.textproto")
    assert program_cache.check(tmp_path) == (True, True)
    assert sorted(path.name for path in folder.iterdir()) == ["c.textproto", "tmp"]
    shutil.rmtree(folder)
    folder.write_text("a file")
    assert program_cache.check(tmp_path) == (True, True)
    assert not folder.exists()


def test_the_oldest_of_too_many_programs_are_deleted(tmp_path):
    """All are read at every start, which must not take longer with every program."""
    folder = tmp_path / "xla_gpu_per_fusion_autotune_cache_dir"
    folder.mkdir()
    for number in range(6):
        (folder / str(number)).write_bytes(b"x" * 15 * 2**20)
        os.utime(folder / str(number), (number, number))
    assert program_cache.check(tmp_path) == (True, True)
    assert sorted(path.name for path in folder.iterdir()) == ["2", "3", "4", "5"]


@pytest.mark.parametrize("place", ["file", "file/folder", "x" * 300])
def test_a_folder_that_cannot_be_made_is_not_used(tmp_path, place):
    (tmp_path / "file").write_text("")
    assert program_cache.check(tmp_path / place) == (False, False)


def test_the_next_start_takes_what_is_whole_and_makes_anew_what_is_damaged(tmp_path):
    flags = ("--env=Catch", *SHORT, "--log_every_steps=100", "--compilation_cache_dir=cache")

    def start(name):
        result = program.train(*flags, f"--run_dir={name}", cwd=tmp_path)
        assert result.returncode == 0 and result.stderr == "", result.stderr
        return program.numbers(tmp_path / name)

    first = start("a")
    assert first[-1]["loss"] > 0
    (folder,) = (tmp_path / "cache").iterdir()
    entries = sorted(folder.glob("*-cache"))
    assert listed(folder) == [path.name for path in entries]
    assert any("learn" in path.name for path in entries)
    before = [path.stat().st_mtime_ns for path in entries]
    assert start("b") == first
    assert sorted(folder.glob("*-cache")) == entries
    assert [path.stat().st_mtime_ns for path in entries] == before

    (library,) = folder.glob("jaxdqn-*.so")
    truncate(library)
    for number, path in enumerate(entries):
        DAMAGES[number % len(DAMAGES)](path)
    assert start("c") == first
    assert sorted(folder.glob("*-cache")) == entries
    assert program_cache.check(folder) == (True, True)
    assert listed(folder) == [path.name for path in entries]
    (library,) = folder.glob("jaxdqn-*.so")
    assert library.stem.endswith(hashlib.sha256(library.read_bytes()).hexdigest())


def test_a_run_that_is_stopped_lists_its_programs(tmp_path):
    flags = ("--env=Catch", *SHORT[1:], "--compilation_cache_dir=cache", "--run_dir=run")
    run = program.start(*flags, "--checkpoint_every_steps=500", cwd=tmp_path)
    program.wait_for_checkpoint(tmp_path / "run", 500)
    run.send_signal(signal.SIGTERM)
    assert run.end()[1] == "" and run.returncode == 128 + signal.SIGTERM
    (folder,) = (tmp_path / "cache").iterdir()
    assert listed(folder)


SMALL_CONV = ("--network=conv", "--conv_features=4", "--conv_sizes=3", "--conv_strides=1")


@pytest.mark.parametrize("place", ["{folder}/file", "~nobody-has-this-name/cache"])
def test_a_start_without_a_usable_cache_or_compiler(tmp_path, monkeypatch, place):
    """A file lies in its place, or there is no home to find it in."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", place.format(folder=tmp_path))
    monkeypatch.setenv("CXX", " ")
    result = program.train("--env=Catch", *SMALL_CONV, *SHORT, "--run_dir=run", cwd=tmp_path)
    assert result.returncode == 0 and result.stderr == ""
    assert "slower than it could be: CXX=' ' names no C++ compiler" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "run"]
