"""The processes of one machine that make one run."""

import re
import shlex
import signal
import subprocess
import sys

import psutil
import pytest

from launch import local as local_launch
from tests import program

ROOT = program.ROOT
SMALL = (
    "--env=CartPole",
    "--preset=classic",
    "--total_steps=600",
    "--eval_episodes=2",
    "--hidden_sizes=32",
)
SMALL += ("--learning_starts_steps=200", "--steps_per_update=4", "--log_every_steps=100")
SMALL += ("--num_envs=8", "--replay_capacity=1000", "--max_episode_steps=50")
SMALL += ("--held_out_observations=0",)


def local(*words):
    return program.run("local", *words, package="launch")


def test_processes_of_one_machine_make_one_run(tmp_path):
    result = local("--processes=2", "--devices=cpu", "--", *SMALL, f"--run_dir={tmp_path / 'run'}")
    assert result.returncode == 0, result.stdout
    lines = result.stdout.splitlines()
    assert all(re.match(r"\[[01]\] ", line) for line in lines)
    assert any("2 x cpu, of 2 processes" in line for line in lines)
    assert lines[-1].startswith("[0] complete, 60")


@pytest.mark.parametrize(("signum", "count"), [(signal.SIGTERM, 2), (signal.SIGHUP, 1)])
def test_a_signal_reaches_all_processes_and_their_run_goes_on(tmp_path, signum, count):
    words = (f"--processes={count}", "--devices=cpu", "--", *SMALL, "--total_steps=100000")
    launcher = program.Program("launch.local", (*words, f"--run_dir={tmp_path / 'run'}"))
    launcher.wait_for("[0] step 3")
    launcher.send_signal(signum)
    printed, errors = launcher.end()
    assert launcher.returncode == 128 + signum and not errors
    assert "resumes from there" in printed
    assert program.newest(tmp_path / "run") >= 300


def test_where_one_process_fails_all_end(tmp_path):
    words = ("--devices=cpu", "--", *SMALL, f"--run_dir={tmp_path / 'run'}", "--total_steps=100000")
    launcher = program.Program("launch.local", words)
    launcher.wait_for("[0] step 3")
    victim, other = sorted(
        psutil.Process(launcher.pid).children(), key=lambda child: child.cmdline()[-1]
    )
    other.kill()
    printed, errors = launcher.end()
    assert launcher.returncode == 128 + signal.SIGKILL
    assert "process 1 was killed by signal 9; all have ended" in errors
    assert "another process of this run is gone" in printed
    assert not victim.is_running()


def test_the_commands_can_be_looked_at(tmp_path):
    result = local("--processes=2", "--devices=cpu", "--dry_run", "--", "--env=CartPole")
    one, two = map(shlex.split, result.stdout.splitlines())
    assert one[0] == "JAX_PLATFORMS=cpu" and "--env=CartPole" in one
    assert one[-2:] == ["--num_processes=2", "--process_id=0"] and two[-1] == "--process_id=1"


def test_processes_have_gpus_of_their_own():
    words = (sys.executable, "-m", "launch.local", "--dry_run", "--devices=gpu")
    environment = program.environment() | {"CUDA_VISIBLE_DEVICES": "0,1,2,5"}

    def visible(*flags):
        command = [*words, *flags, "--", "--env=Pong"]
        told = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        return [shlex.split(line)[0] for line in told.stdout.splitlines()]

    assert visible("--processes=2") == [f"CUDA_VISIBLE_DEVICES={n}" for n in (0, 1)]
    shares = visible("--processes=2", "--devices_per_process=2")
    assert shares == ["CUDA_VISIBLE_DEVICES=0,1", "CUDA_VISIBLE_DEVICES=2,5"]
    assert visible("--processes=1", "--devices_per_process=3") == ["CUDA_VISIBLE_DEVICES=0,1,2"]
    assert visible("--processes=1") == [sys.executable]


def test_gpus_are_counted_from_zero(tmp_path, monkeypatch):
    """In a container that has but the fifth and sixth of a machine CUDA calls them 0 and 1."""
    for name in ("nvidia4", "nvidia5", "nvidiactl"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert local_launch.gpus(tmp_path) == ["0", "1"]
    for told, names in (("-1", []), ("", []), ("3,GPU-7,-1,2", ["3", "GPU-7"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", told)
        assert local_launch.gpus(tmp_path) == names


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["local", "--processes=0"], "--processes"),
        (
            ["local", "--devices=gpu", "--", "--env=CartPole"],
            "--processes: is 2, but this machine has 0 GPUs",
        ),
        (["local", "--devices=gpu", "--devices_per_process=1"], "--devices_per_process: is 1, but"),
        (["local", "--env=CartPole"], "env"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path, words, told):
    program.assert_refused(program.run(*words, package="launch", cwd=tmp_path), told)
    assert not list(tmp_path.iterdir())


def test_processes_end_with_a_launcher_that_is_killed(tmp_path):
    run = tmp_path / "run"
    words = ("--processes=1", "--devices=cpu", "--", *SMALL, f"--run_dir={run}")
    launcher = program.Program("launch.local", (*words, "--total_steps=1000000"))
    launcher.wait_for("[0] step 3")
    (child,) = psutil.Process(launcher.pid).children()
    launcher.kill()
    child.wait(timeout=100)
    assert program.newest(run) >= 300
    launcher.end()
