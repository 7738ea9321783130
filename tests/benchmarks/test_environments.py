"""The walk through EnvPool's environments: what it finds, and that it goes on where it was."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

from tests import program, saved

ROOT = program.ROOT


def run(module, *flags, **environment):
    """A program that starts from nothing, so that EnvPool sees the environment variables."""
    return subprocess.run(
        [sys.executable, "-m", module, *flags],
        cwd=ROOT,
        env={**program.environment(), **environment},
        check=False,
        capture_output=True,
        text=True,
    )


def walk(folder, envs, **environment):
    flags = (f"--envs={envs}", f"--out={folder}", f"--page={folder / 'page.md'}")
    return run("benchmarks.environments", *flags, **environment)


def assets_without_breakout(folder):
    """EnvPool's files, but for one ROM, which is empty: its emulator ends the process."""
    (found,) = importlib.util.find_spec("envpool_assets").submodule_search_locations
    (folder / "atari" / "roms").mkdir(parents=True)
    for path in (*pathlib.Path(found).iterdir(), *pathlib.Path(found, "atari/roms").iterdir()):
        link = folder / path.relative_to(found)
        if not link.exists():
            link.symlink_to(path)
    rom = folder / "atari" / "roms" / "breakout.bin"
    rom.unlink()
    rom.touch()
    return str(folder)


def test_each_environment_trains_or_is_refused_or_is_taken_again(tmp_path):
    """What ends its process, or fails, ends no walk; the next one takes that alone."""
    envs = "CartPole,Breakout,Chess-v1,VizdoomCustom-v1,HalfCheetah-v4"
    assets = assets_without_breakout(tmp_path / "assets")
    first = walk(tmp_path, envs, ENVPOOL_ASSETS_PATH=assets)
    assert first.returncode == 1, first.stderr
    assert "CartPole-v1: trained" in first.stdout
    assert "FAILED Breakout-v5: ended with code 1 while it was described" in first.stdout
    (path,) = tmp_path.glob("*.json")
    assert list(json.loads(path.read_text())["failures"]) == ["Breakout-v5"]

    second = walk(tmp_path, envs)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "1 described, 1 to be trained" in second.stdout
    assert "Breakout-v5: trained" in second.stdout and "CartPole" not in second.stdout
    told = json.loads(path.read_text())
    assert told["failures"] == {}
    assert told["environments"]["atari"] == {"trained": {"": ["Breakout-v5"]}}
    assert told["environments"]["pgx"] == {
        "refused": {"has several players; a run plays one": ["Chess-v1"]}
    }
    assert told["table"][-1].replace(" ", "") == "|all|5|2|3|0|"
    page = (tmp_path / "page.md").read_text()
    assert "Trained: CartPole-v1\n" in page
    assert "Refused (has Box actions; a Q-network needs Discrete): HalfCheetah-v4" in page
    assert not list(tmp_path.glob("*.partial.jsonl"))


@pytest.mark.parametrize(("name", "code"), [("train", 2), ("evaluate", 1)])
def test_an_envpool_without_its_files_is_one_line(tmp_path, name, code):
    path = tmp_path / "run"
    flags = ("--env=Breakout", f"--run_dir={path}")
    if name == "evaluate":
        saved.make_run(path, "CartPole", {}, returns=(1.0,))
        flags = flags[1:]
    result = run(f"jaxdqn.{name}", *flags, ENVPOOL_ASSETS_PATH=str(tmp_path / "nowhere"))
    assert result.returncode == code, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and "EnvPool cannot be imported: " in line
    assert path.exists() == (name == "evaluate")
