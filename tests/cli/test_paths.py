"""Paths that cannot be are refused at the start, and odd ones that can be work."""

import errno
import os
import pathlib
import subprocess
import sys

import pytest

from jaxdqn import errors
from jaxdqn.cli import paths
from jaxdqn.rundir import layout
from jaxdqn.storage import atomic_files
from tests import program

ODD = "b\u00fccher (1), 'x' & $y"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~nosuchuser/run", "~nosuchuser/run: this home directory does not exist; give the full"),
        ("x" * 256, "File name too long"),
        ("x/" * 1_800, "is a path of 3,"),
        ("x/" * 4_000, "File name too long"),
        ("loop/run", "Too many levels of symbolic links"),
        ("nul\0", "null"),
        (os.fsdecode(b"runs/\xff\xfe"), r"runs/\xff\xfe; a path in UTF-8"),
    ],
)
def test_paths_that_cannot_be(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("loop").symlink_to("loop")
    with pytest.raises(errors.SettingError) as caught:
        paths.usable("run_dir", path)
    assert str(caught.value).startswith("--run_dir: ") and message in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_disk_that_does_not_answer_may_do_so_later(monkeypatch):
    """Whoever starts runs again must not take it for wrong usage."""

    def fails(path, **_):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(pathlib.Path, "stat", fails)
    with pytest.raises(errors.RunError, match="--run_dir: /far/run: Stale file handle"):
        paths.usable("run_dir", "/far/run")


def test_paths_below_a_folder_that_is_not_utf8(tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(errors.SettingError, match="a path in UTF-8"):
        paths.usable("out", "film.mp4")


def test_a_current_folder_that_was_deleted(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(errors.SettingError, match="the current folder was deleted"):
        paths.usable("out", "film.mp4")
    assert paths.usable("out", tmp_path) == tmp_path


def test_paths_that_can_be(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.usable("out", "~/new/film.mp4") == tmp_path / "new" / "film.mp4"
    for name in ("x" * 255, ODD, "..", "a\nb"):
        assert paths.usable("out", tmp_path / name) == tmp_path / name


def test_a_locale_of_ascii(tmp_path):
    check = "import sys; from jaxdqn.cli import paths; print(paths.usable('out', sys.argv[1]))"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    def run(path):
        command = [sys.executable, "-c", check, path]
        return subprocess.run(
            command, env=os.environ | ascii_only, capture_output=True, text=True, check=False
        )

    assert run(str(tmp_path / "plain")).stdout.strip() == str(tmp_path / "plain")
    assert "this locale only has ASCII: set PYTHONUTF8=1" in run(str(tmp_path / ODD)).stderr


@pytest.mark.parametrize("length", [1, 245, 248, 251])
def test_the_longest_names_can_be_written(tmp_path, length):
    path = tmp_path / f"{'x' * length}.gif"
    with atomic_files.whole(path) as part:
        assert part.suffix == ".gif" and part != path
        part.write_text("film")
    assert path.read_text() == "film"
    with atomic_files.whole_folder(tmp_path / ("y" * (length + 4))) as part:
        (part / "file").touch()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_in_an_odd_folder(tmp_path):
    """Without a home, of which the password file does not know either."""
    homeless = "import os, pwd; os.environ.pop('HOME'); pwd.getpwuid = {}.__getitem__"
    folder = tmp_path / ODD
    folder.mkdir()
    for name in ("lost+found", ".DS_Store"):  # a new disk, and one that a desktop has looked at
        (folder / name).mkdir()
    flags = (
        "--env=CartPole",
        "--preset=classic",
        f"--run_dir={folder}",
        "--total_steps=400",
        "--eval_episodes=2",
    )
    flags += ("--num_envs=8", "--replay_capacity=1000", "--learning_starts_steps=250")
    flags += ("--hidden_sizes=32",)
    process = program.start(*flags, driver=homeless)
    stdout, stderr = process.end()
    assert process.returncode == 0 and stderr == ""
    assert stdout.splitlines()[-1].startswith("complete, 40")
    assert program.newest(folder) >= 400 and (folder / "lost+found").exists()

    unwritable = tmp_path / os.fsdecode(b"\xff") / "run"
    result = program.train("--env=CartPole", "--preset=classic", f"--run_dir={unwritable}")
    assert result.returncode == 2 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: --run_dir: ") and line.endswith(r"/\xff/run; a path in UTF-8")
    assert [path.name for path in tmp_path.iterdir()] == [ODD]

    agent = program.run("evaluate", f"--run_dir={folder}", "--episodes=2")
    assert agent.returncode == 0, agent.stderr


@pytest.mark.parametrize("name", ["a[1]", "a*", "what?"])
def test_names_by_which_files_are_searched_are_no_run_directories(tmp_path, name):
    with pytest.raises(errors.SettingError, match="Orbax cannot save in a folder"):
        layout.check_writable(tmp_path / name / "run")
    layout.check_writable(tmp_path / "a]")
