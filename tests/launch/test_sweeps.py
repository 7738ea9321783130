"""Sweeps: their runs, their flags, and what becomes of them."""

import collections
import os
import shlex
import subprocess
import sys
import threading
import time

import filelock
import psutil
import pytest

from jaxdqn.rundir import run_lock
from launch import sweep_ray, sweep_runs, sweep_table
from tests import program

ROOT = program.ROOT


def test_a_sweep_names_its_runs(tmp_path):
    words = ("--envs=Pong,ale:Breakout", "--seeds=0-1,5", "--vary=n_step=1,3", "--dry_run")
    result = program.run("sweep", *words, "--", "--total_steps=9", package="launch", cwd=tmp_path)
    commands = [shlex.split(line) for line in result.stdout.splitlines()]
    assert len(commands) == 2 * 2 * 3 and not list(tmp_path.iterdir())
    assert all("--total_steps=9" in command for command in commands)
    paths = {word for command in commands for word in command if word.startswith("--run_dir=")}
    assert len(paths) == 12
    assert f"--run_dir={tmp_path}/runs/sweep/ale_Breakout-n_step=3-seed5" in paths


def test_all_atari_games_can_be_swept():
    result = program.run("sweep", "--envs=atari57", "--seeds=0-4", "--dry_run", package="launch")
    assert len(result.stdout.splitlines()) == 57 * 5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sweep", "--seeds=0"], "--envs: name the games"),
        (["sweep", "--envs=Pong", "--seeds=0-x"], "--seeds: is '0-x'"),
        (["sweep", "--envs=Pong", "--vary=n_step"], "--vary: is 'n_step'"),
        (["sweep", "--envs=Pong", "--", "--overwrite"], "--overwrite: would delete"),
        (["sweep", "--envs=Pong", "--seeds=2-0"], "--seeds: is '2-0'"),
        (["sweep", "--envs=Pong", "--vary=n_step=1,"], "--vary: is 'n_step=1,'"),
        (["sweep", "--envs=Pong", "--vary=seed=1,2"], "--vary: seed cannot vary like this; use"),
        (["sweep", "--envs=Pong", "--", "--seed=3"], "--seed: cannot be set for all runs: the"),
        (["sweep", "--envs=Pong", "--", "--run_dir", "x"], "--run_dir: cannot be set for all"),
        (
            ["sweep", "--envs=Pong", "--vary=n_step=1,3", "--", "-n_step=5"],
            "--n_step: cannot be set for all runs: --vary names its values",
        ),
        (["sweep", "--envs=Pong", "--", "--flagfile=none"], "--flagfile: "),
        (["sweep", "--envs=Pong", "--", f"--flagfile={sys.executable}"], "--flagfile: "),
        (["sweep", "--envs=Brekout"], "no environment 'Brekout'; nearest: Breakout"),
        (["sweep", "--envs=Pong", "--", "--n_stepp=3"], "--n_stepp: is not a flag of jaxdqn.train"),
        (["sweep", "--envs=Pong", "--vary=n_stepp=3"], "--n_stepp: is not a flag of jaxdqn.train"),
        (["sweep", "--envs=Pong", "--vary=n_step=1,0"], "--n_step: is 0; must be at least 1"),
        (["sweep", "--envs=Pong", "--vary=overwrite=true"], "--overwrite: would delete"),
        (["sweep", "--envs=Pong", "--vary=hidden_sizes=8,8"], "semicolons divide its values"),
        (["sweep", "--envs=Pong", "--vary=initial_agent=a/b,a:b"], "--vary: makes two runs of the"),
        (["sweep", "--envs=Pong", "--gpus_per_run=1.5"], "--gpus_per_run: is 1.5; must be a whole"),
        (["sweep", "--envs=Pong", "--trials=3"], "--trials: belongs to a search"),
        (["sweep", "--envs=Pong", "--runs_dir=~nosuchuser/x"], "--runs_dir: ~nosuchuser/x: this"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path, words, told):
    program.assert_refused(program.run(*words, package="launch", cwd=tmp_path), told)
    assert not list(tmp_path.iterdir())


def test_flags_of_all_runs_may_stand_in_a_file(tmp_path):
    (tmp_path / "all.flags").write_text("--total_steps=2000\n--env=Pong\n")
    words = ("--envs=CartPole,CartPole", "--seeds=1-2,2", "--dry_run", "--")
    result = program.run("sweep", *words, "--flagfile=all.flags", package="launch", cwd=tmp_path)
    assert result.returncode == 2 and "--env: cannot be set for all runs" in result.stderr
    (tmp_path / "all.flags").write_text("--total_steps=2000\n")
    result = program.run("sweep", *words, "--flagfile=all.flags", package="launch", cwd=tmp_path)
    runs = [shlex.split(line) for line in result.stdout.splitlines()]
    assert [run[run.index("--env=CartPole") + 1] for run in runs] == ["--seed=1", "--seed=2"]


@pytest.mark.parametrize(
    ("gpus", "platform", "memory"),
    [(0, "cpu", "-"), (0.5, "-", "0.45"), (2, "-", "-"), (None, "-", "-")],
)
def test_a_run_of_a_sweep_has_the_gpus_that_it_is_given(tmp_path, gpus, platform, memory):
    """Ray hides none from a task that asks for none."""
    tell = 'echo "${JAX_PLATFORMS:--} ${XLA_PYTHON_CLIENT_MEM_FRACTION:--}"'
    code = "import pathlib, sys; from launch import sweep_runs, sweep_worker\n"
    code += "run = sweep_runs.Run(pathlib.Path(sys.argv[1]), ())\n"
    code += f"sweep_worker.train(run, {gpus}, program=['sh', '-c', {tell!r}])"
    (tmp_path / "logs").mkdir()
    environment = dict(os.environ)
    for name in ("JAX_PLATFORMS", "XLA_PYTHON_CLIENT_MEM_FRACTION"):
        environment.pop(name, None)
    command = [sys.executable, "-c", code, tmp_path / "Pong-seed0"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    assert (tmp_path / "logs" / "Pong-seed0.log").read_text() == f"{platform} {memory}\n"


@pytest.mark.parametrize(
    ("words", "platforms", "resources", "expected"),
    [
        ([], "", {"GPU": 4.0}, 1.0),
        ([], "cpu", {"GPU": 4.0}, 0.0),
        ([], "", {"CPU": 2.0, "TPU": 4.0}, None),
        (["--gpus_per_run=0"], "", {"GPU": 4.0}, 0.0),
    ],
)
def test_runs_of_a_sweep_take_a_gpu_each_where_there_are_any(words, platforms, resources, expected):
    told = on_cluster("print(sweep_ray.gpus_per_run(ray))", words, [resources], platforms)
    assert told.stdout == f"{expected}\n", told.stderr


def on_cluster(code, words, machines, platforms=""):
    """Runs code with the flags of a sweep, on a cluster whose machines have these resources."""
    total = sum(map(collections.Counter, machines), collections.Counter())
    nodes = [{"Alive": True, "Resources": machine} for machine in machines]
    start = "import sys, types; from absl import flags; from launch import sweep, sweep_ray\n"
    start += "sweep.define_flags(); flags.FLAGS(sys.argv); ray = types.SimpleNamespace()\n"
    start += f"ray.cluster_resources, ray.nodes = lambda: {dict(total)}, lambda: {nodes}\n"
    command = [sys.executable, "-c", start + code, *words]
    environment = os.environ | {"JAX_PLATFORMS": platforms}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


# A worker that was started in another folder than the sweep.
ELSEWHERE = """
import os, pathlib
from launch import sweep_runs
def remote(**reserved):
    print({name: x for name, x in reserved.items() if name in ("num_cpus", "num_gpus", "memory")})
    return lambda train: types.SimpleNamespace(remote=train)
ray.remote = remote
ray.cloudpickle = types.SimpleNamespace(register_pickle_by_value=lambda module: None)
runs_dir = pathlib.Path(sys.argv.pop())
os.chdir(runs_dir)
start = sweep_ray.starter(ray)
os.chdir("/")
start(sweep_runs.Run(runs_dir / "Pong-seed0", ("--flagfile=my.flags",)))
"""


def test_a_run_reserves_what_is_said_and_is_trained_where_the_sweep_was_started(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "my.flags").write_text("--list_presets")
    told = on_cluster(ELSEWHERE, ["--memory_per_run=2.5", tmp_path], [{"CPU": 1.0}])
    assert told.returncode == 0, told.stderr
    assert told.stdout == "{'num_cpus': 1.0, 'num_gpus': 0, 'memory': 2500000000.0}\n"
    assert "cartpole" in (tmp_path / "logs" / "Pong-seed0.log").read_text()


CONNECT = """
import pathlib
ray.init, ray.shutdown = lambda **how: None, lambda: None
sys.modules["ray"] = ray
with sweep_ray.connected(pathlib.Path(sys.argv.pop())):
    print(sweep_ray.runs_at_once(ray))
"""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "4\n"),
        (["--cpus_per_run=2", "--gpus_per_run=0.5"], "3\n"),
        (["--memory_per_run=8"], "2\n"),
        (
            ["--memory_per_run=17"],
            "needs 1 CPU and 1 GPU and 17 GB of memory; no machine has more than",
        ),
        (["--cpus_per_run=6"], "SettingError: --cpus_per_run: a run needs 6 "),
        (["--gpus_per_run=4"], "SettingError: --gpus_per_run: a run needs 1 "),
        (
            ["--gpus_per_run=4", "--address=auto"],
            "no machine has more than 4 CPU and 2 GPU: runs wait",
        ),
    ],
)
def test_each_run_needs_room_on_one_machine(tmp_path, words, told):
    machines = [{"CPU": 4.0, "GPU": 2.0, "memory": 16e9}, {"CPU": 3.0, "GPU": 2.0, "memory": 7e9}]
    found = on_cluster(CONNECT, [*words, tmp_path], machines)
    assert told in found.stdout + found.stderr


def test_a_machine_on_which_nothing_runs_does_not_use_up_all_runs(tmp_path):
    """An attempt that ends at once is followed by a pause, unless nothing more is wanted."""
    (tmp_path / "logs").mkdir()
    run = sweep_runs.Run(tmp_path / "Pong-seed0", ())
    code = "import pathlib, sys; from launch import sweep_runs, sweep_worker\n"
    code += "run = sweep_runs.Run(pathlib.Path(sys.argv[1]), ())\n"
    code += "sweep_worker.train(run, 0, program=['sh', '-c', sys.argv[2]])"

    def train(script):
        began = time.monotonic()
        command = [sys.executable, "-c", code, run.path, script]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return time.monotonic() - began, told.stderr.splitlines()[-1]

    took_s, told = train("echo no device; exit 1")
    assert told == "launch.sweep_worker.CutOffError: ended with 1: no device"
    assert took_s > 10 and run.attempts() == 1
    assert "RefusedError" in train("exit 2")[1]
    assert train("echo error: step 9; exit 3")[1].endswith("DivergedError: error: step 9")
    threading.Timer(5.0, run.stop_file.touch).start()
    took_s, _ = train("exit 1")
    assert (
        took_s < 60 and run.attempts() == 4
    )  # of the 90 s that come after the third and later ones


# A look for the file that stops a run fails once the run has begun.
FAULT = """
import errno, pathlib, sys
from launch import sweep_runs, sweep_worker
run, exists = sweep_runs.Run(pathlib.Path(sys.argv[1]), ()), pathlib.Path.exists
begun, seen = run.path.with_name("begun"), run.path.with_name("seen")
def fails_once(path, **how):
    if path == run.stop_file and exists(begun) and not exists(seen):
        seen.touch()
        raise FAULT
    return exists(path, **how)
pathlib.Path.exists = fails_once
sweep_worker.train(run, 0, program=["sh", "-c", sys.argv[2]])
"""


@pytest.mark.parametrize(
    ("fault", "rest", "code"),
    [
        ("OSError(errno.ESTALE, 'stale')", "until [ -e seen ]; do sleep 0.1; done; echo saved", 0),
        ("KeyboardInterrupt", "while :; do sleep 0.1; done", -2),
    ],
)
def test_a_run_outlives_a_look_for_its_stop_file_that_fails_but_not_its_worker(
    tmp_path, fault, rest, code
):
    (tmp_path / "logs").mkdir()
    script = f"cd {shlex.quote(str(tmp_path))}; trap 'echo saved; exit' TERM; touch begun; {rest}"
    words = ["-c", FAULT.replace("FAULT", fault), tmp_path / "Pong-seed0", script]
    told = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == code, told.stderr
    assert (tmp_path / "logs" / "Pong-seed0.log").read_text() == "saved\n"


def test_a_sweep_that_is_stopped_waits_until_its_runs_have_saved(tmp_path, capsys):
    for name in ("Pong-seed0", "Pong-seed1"):
        (tmp_path / name).mkdir()
    lock = filelock.FileLock(tmp_path / "Pong-seed0" / run_lock.FILE, thread_local=False)
    lock.acquire()
    saving = threading.Timer(2.0, lock.release)
    saving.start()
    sweep_ray.wait_until_saved(tmp_path)
    assert not lock.is_locked
    assert capsys.readouterr().out == "waiting for 1 run to save\n"
    sweep_ray.wait_until_saved(tmp_path)
    assert not capsys.readouterr().out


def test_the_progress_of_many_runs_fits_a_terminal(tmp_path):
    states = dict.fromkeys(("complete", "running", "waiting", "failed"), 100)
    names = [(state, number) for state, count in states.items() for number in range(count)]
    runs = {
        sweep_runs.Run(tmp_path / f"{state}-seed{number}", ()): state
        for state, number in names
        if state in ("complete", "waiting") or number < 3
    }
    shown = sweep_table.progress(runs)
    assert shown.row_count == 6
    assert shown.caption == "100 complete, 3 failed, 3 running, 100 waiting"


def test_a_sweep_ends_with_all_runs_though_one_was_killed(tmp_path):
    """Two games, two seeds; the second game's second seed is killed when it has a checkpoint.

    Their head comes from a plugin, which the report needs too.
    """
    runs = tmp_path / "sweep"
    words = ("--envs=CartPole,MountainCar", "--seeds=0,1", f"--runs_dir={runs}", "--")
    words += ("--preset=classic", "--plugins=tests.toys.plugin", "--head=twins")
    words += ("--total_steps=4000", "--eval_episodes=2", "--checkpoint_every_steps=1000")
    words += ("--hidden_sizes=32", "--steps_per_update=8", "--max_episode_steps=200")
    with (tmp_path / "printed").open("w") as printed:
        sweep = subprocess.Popen(
            [sys.executable, "-m", "launch.sweep", *words],
            cwd=ROOT,
            env=program.environment(),
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
    victim = runs / "MountainCar-seed1"
    try:
        kill_after_checkpoint(victim, sweep)
        code = sweep.wait(400)
    finally:
        sweep.kill()
    told = (tmp_path / "printed").read_text()
    assert code == 0, told
    paths = sorted(runs.glob("*-seed*"))
    assert len(paths) == 4
    for path in paths:
        assert program.rows(path)[0][-1]["step"] >= 4000
        attempts = (runs / "logs" / f"{path.name}.attempts").read_text().splitlines()
        assert len(attempts) == 1 + (path == victim)
    assert "resuming from step" in (runs / "logs" / f"{victim.name}.log").read_text()
    # The table, and a line for each change where it cannot move.
    assert "4 runs, up to " in told and told.count("complete") == 8 and "4 runs" in told
    assert {"MountainCar-seed1: running", "CartPole-seed0: complete"} <= set(told.splitlines())
    assert "4 complete" in (runs / "report.html").read_text()


def kill_after_checkpoint(path, sweep):
    """Kills the process that trains there, once it has saved something."""
    until = time.monotonic() + 600
    while time.monotonic() < until and sweep.poll() is None:
        if list((path / "checkpoints").glob("*000/SHA256SUMS")):
            for process in psutil.process_iter(["cmdline"]):
                if f"--run_dir={path}" in (process.info["cmdline"] or ()):
                    process.kill()
                    return
        time.sleep(0.02)
    raise AssertionError("there was nothing to kill")
