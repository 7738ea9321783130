"""What starts runs: here as far as it goes, and elsewhere as far as it can be checked from here."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import kubernetes_validate
import psutil
import pytest
import yaml

from launch import local as local_launch
from tests import program

ROOT = program.ROOT
LAUNCH = ROOT / "launch"
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


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_all_processes_and_their_run_goes_on(tmp_path, signum):
    words = ("--devices=cpu", "--", *SMALL, f"--run_dir={tmp_path / 'run'}", "--total_steps=100000")
    launcher = program.Program("launch.local", words)
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
    code = "import sys, types; from absl import flags; from launch import sweep, sweep_ray\n"
    code += "sweep.define_flags(); flags.FLAGS(sys.argv)\n"
    code += f"ray = types.SimpleNamespace(cluster_resources=lambda: {resources})\n"
    code += "print(sweep_ray.gpus_per_run(ray))"
    command = [sys.executable, "-c", code, *words]
    environment = os.environ | {"JAX_PLATFORMS": platforms}
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert told.stdout == f"{expected}\n", told.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["local", "--processes=0"], "--processes"),
        (["local", "--devices=gpu", "--", "--env=CartPole"], "--processes: is 2, but 0 GPUs"),
        (["local", "--devices=gpu", "--devices_per_process=1"], "--devices_per_process: is 1, but"),
        (["local", "--env=CartPole"], "env"),
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
        (["sweep", "--envs=Pong", "--runs_dir=~nosuchuser/x"], "--runs_dir: ~nosuchuser/x: this"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path, words, told):
    result = program.run(*words, package="launch", cwd=tmp_path)
    assert result.returncode == 2
    assert told in result.stderr and result.stderr.count("\n") == 1
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


def test_a_sweep_ends_with_all_runs_though_one_was_killed(tmp_path):
    """Two games, two seeds; the second game's second seed is killed when it has a checkpoint."""
    runs = tmp_path / "sweep"
    words = ("--envs=CartPole,MountainCar", "--seeds=0,1", f"--runs_dir={runs}", "--")
    words += ("--preset=classic",)
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
    assert told.count("complete") == 4 and "4 runs" in told
    assert (runs / "report.html").stat().st_size > 100_000


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


def test_a_sweep_names_its_runs(tmp_path):
    words = ("--envs=Pong,ALE/Breakout-v5", "--seeds=0-1,5", "--vary=n_step=1,3", "--dry_run")
    result = program.run("sweep", *words, "--", "--total_steps=9", package="launch", cwd=tmp_path)
    commands = [shlex.split(line) for line in result.stdout.splitlines()]
    assert len(commands) == 2 * 2 * 3 and not list(tmp_path.iterdir())
    assert all("--total_steps=9" in command for command in commands)
    paths = {word for command in commands for word in command if word.startswith("--run_dir=")}
    assert len(paths) == 12
    assert f"--run_dir={tmp_path}/runs/sweep/ALE_Breakout-v5-n_step=3-seed5" in paths


def test_all_atari_games_can_be_swept():
    result = program.run("sweep", "--envs=atari57", "--seeds=0-4", "--dry_run", package="launch")
    assert len(result.stdout.splitlines()) == 57 * 5


def test_the_shell_scripts_have_no_faults():
    scripts = [LAUNCH / "slurm.sbatch", LAUNCH / "tpu_vm.sh", ROOT / ".ci" / "run"]
    found = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def stand_in(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (1, False), (143, True)])
def test_a_job_that_was_stopped_is_queued_again(tmp_path, code, requeued):
    """The script itself, with stand-ins for the commands of SLURM."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").touch()
    stand_in(tmp_path / "bin", "srun", f'echo "$@" > {tmp_path}/srun; exit {code}')
    stand_in(tmp_path / "bin", "scontrol", f'echo "$@" > {tmp_path}/scontrol')
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    own = {"PATH": path, "JAXDQN_ENV": str(tmp_path), "SLURM_JOB_ID": "7"}
    own |= {"SLURM_RESTART_COUNT": "1"} if code else {}
    script = ["bash", LAUNCH / "slurm.sbatch", "--env=Pong", "--run_dir=a b"]
    result = subprocess.run(script, env=os.environ | own, capture_output=True, text=True)
    assert result.returncode == code, result.stderr
    step, _, train = (tmp_path / "srun").read_text().partition(" python -m ")
    assert {"--kill-on-bad-exit=0", "--wait=90", "--gpu-bind=none"} <= set(step.split())
    again = " --overwrite=false" if code else ""  # what was saved stays
    assert train == f"jaxdqn.train --env=Pong --run_dir=a b{again}\n"
    assert (tmp_path / "scontrol").exists() == requeued
    if requeued:
        assert (tmp_path / "scontrol").read_text() == "requeue 7\n"


def test_a_job_is_told_ahead_of_its_end_and_may_be_queued_again():
    lines = (LAUNCH / "slurm.sbatch").read_text().splitlines()
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")}
    assert {"--signal=TERM@120", "--requeue", "--open-mode=append"} <= asked


def test_the_commands_for_a_tpu_can_be_looked_at(tmp_path):
    script = [LAUNCH / "tpu_vm.sh", "my-tpu", "zone-a", "/mnt/a b", "--env=Pong"]
    dry = os.environ | {"DRY_RUN": "1"}
    result = subprocess.run(script, env=dry, capture_output=True, text=True)
    *_, install, train = result.stdout.replace("\\n", " ").splitlines()
    assert '".[tpu]"' in install
    (command,) = (word for word in shlex.split(train) if word.startswith("--command="))
    # What a machine would do: it starts training, and the connection ends.
    (tmp_path / "jaxdqn" / ".venv" / "bin").mkdir(parents=True)
    stand_in(tmp_path / "jaxdqn" / ".venv" / "bin", "python", 'printf "%s\\n" "$@"; exec sleep 20')
    machine = ["bash", "-c", command.removeprefix("--command=")]
    began = time.monotonic()
    assert subprocess.run(machine, cwd=tmp_path, capture_output=True).stdout == b""
    assert time.monotonic() - began < 10
    log = tmp_path / "jaxdqn.log"
    while time.monotonic() - began < 10 and "run_dir" not in log.read_text():
        time.sleep(0.1)
    assert log.read_text().splitlines() == [
        "-m",
        "jaxdqn.train",
        "--env=Pong",
        "--run_dir=/mnt/a b",
    ]
    assert subprocess.run([LAUNCH / "tpu_vm.sh", "my-tpu"], capture_output=True).returncode == 2


def test_kubernetes_would_take_the_manifest():
    """JobSet's own fields are few; all that it makes is checked by Kubernetes' schemas."""
    for part in yaml.safe_load_all((LAUNCH / "k8s" / "jobset.yaml").read_text()):
        if part["kind"] != "JobSet":
            kubernetes_validate.validate(part, "1.30", strict=True)
            continue
        assert part["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
        assert set(part["spec"]) == {"failurePolicy", "replicatedJobs"}
        assert part["spec"]["failurePolicy"] == {
            "maxRestarts": 100,
            "rules": [{"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
        }
        (job,) = part["spec"]["replicatedJobs"]
        assert set(job) == {"name", "replicas", "template"}
        made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "hosts"}}
        kubernetes_validate.validate({**made, **job["template"]}, "1.30", strict=True)
        (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
        assert json.dumps(container["args"]).count("--run_dir=/runs/") == 1
