"""What starts runs on clusters, as far as it can be checked here."""

import json
import os
import shlex
import subprocess
import time

import kubernetes_validate
import pytest
import yaml

from tests import program

ROOT = program.ROOT
LAUNCH = ROOT / "launch"


def test_the_shell_scripts_have_no_faults():
    scripts = [*LAUNCH.glob("slurm*"), LAUNCH / "tpu_vm.sh", ROOT / ".ci" / "run"]
    found = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def stand_in(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def run_job(folder, code, script, *words, scontrol="", **own):
    """Runs a script with stand-ins for the commands of SLURM, whose words they write into files."""
    (folder / "bin").mkdir()
    (folder / "bin" / "activate").touch()
    stand_in(folder / "bin", "srun", f'printf "%s\\n" "$@" > {folder}/srun; exit {code}')
    stand_in(folder / "bin", "scontrol", f'echo "$@" > {folder}/scontrol; {scontrol}')
    own |= {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "JAXDQN_ENV": str(folder)}
    command = ["bash", LAUNCH / script, *words]
    environment = os.environ | {"SLURM_JOB_ID": "7"} | own
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == code, result.stderr
    requeued = folder / "scontrol"
    return result.stdout, requeued.read_text().strip() if requeued.exists() else ""


@pytest.mark.parametrize(
    ("code", "restarts", "told"),
    [
        (0, 0, ""),
        (2, 0, ""),
        (3, 1, ""),
        (1, 1, "failed with exit code 1; queued again\n"),
        (1, 10, "failed with exit code 1; not queued again after 10 restarts\n"),
        (143, 10, "stopped by SIGTERM and saved; queued again\n"),
    ],
)
def test_a_job_that_may_go_on_is_queued_again(tmp_path, code, restarts, told):
    own = {"SLURM_RESTART_COUNT": str(restarts)} if restarts else {}
    words = ("slurm.sbatch", "--env=Pong", "--run_dir=a b")
    printed, requeued = run_job(tmp_path, code, *words, **own)
    assert printed == told and requeued == ("requeue 7" if "; queued again" in told else "")
    step, _, train = (tmp_path / "srun").read_text().partition("python\n-m\n")
    assert {"--kill-on-bad-exit=0", "--wait=90", "--gpu-bind=none"} <= set(step.split())
    again = "--overwrite=false\n" if restarts else ""  # what was saved stays
    assert train == f"jaxdqn.train\n--env=Pong\n--run_dir=a b\n{again}"


def test_a_job_that_cannot_be_queued_again_says_so(tmp_path):
    printed, _ = run_job(tmp_path, 143, "slurm.sbatch", "--env=Pong", scontrol="exit 1")
    assert "saved; not queued again: submit the same command" in printed


def test_a_job_of_an_array_runs_its_line_of_the_commands_of_a_sweep(tmp_path):
    words = ("--envs=Pong", "--seeds=0-2", f"--runs_dir={tmp_path}/a b", "--dry_run")
    commands = program.run("sweep", *words, package="launch").stdout
    (tmp_path / "runs.txt").write_text(commands)
    own = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}
    _, requeued = run_job(tmp_path, 143, "slurm_array.sbatch", tmp_path / "runs.txt", **own)
    assert requeued == "requeue 5_2"
    _, *step, line = (tmp_path / "srun").read_text().splitlines()
    assert step == ["bash", "-c"] and line == f"exec {commands.splitlines()[1]}"
    assert f"'--run_dir={tmp_path}/a b/Pong-seed1'" in line


def test_an_array_that_is_longer_than_its_file_says_so(tmp_path):
    (tmp_path / "runs.txt").write_text("true\n")
    command = ["bash", LAUNCH / "slurm_array.sbatch", tmp_path / "runs.txt"]
    own = os.environ | {"SLURM_ARRAY_TASK_ID": "2"}
    result = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)
    assert result.returncode == 2 and "runs.txt has no line 2" in result.stderr


@pytest.mark.parametrize("script", ["slurm.sbatch", "slurm_array.sbatch"])
def test_a_job_is_told_ahead_of_its_end_and_may_be_queued_again(script):
    lines = (LAUNCH / script).read_text().splitlines()
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")}
    assert {"--signal=TERM@120", "--requeue", "--open-mode=append"} <= asked


def path_with_git(folder, script):
    """A PATH on which there is a stand-in for git."""
    stand_in(folder, "git", script)
    return f"{folder}:{os.environ['PATH']}"


def test_changes_that_are_not_committed_are_not_left_out_on_a_tpu(tmp_path):
    path = path_with_git(tmp_path, '[ "$1" = status ] && echo " M jaxdqn/train.py"')
    stand_in(tmp_path, "gcloud", f"touch {tmp_path}/copied")
    command = [LAUNCH / "tpu_vm.sh", "my-tpu", "zone-a", "/mnt/run"]
    own = os.environ | {"PATH": path}
    result = subprocess.run(command, env=own, capture_output=True, text=True)
    assert result.returncode == 1 and not (tmp_path / "copied").exists()
    assert "commit or stash these changes first:\n M jaxdqn/train.py\n" in result.stderr


def test_the_commands_for_a_tpu_can_be_looked_at(tmp_path):
    script = [LAUNCH / "tpu_vm.sh", "my-tpu", "zone-a", "/mnt/a b", "--env=Pong"]
    dry = os.environ | {"DRY_RUN": "1", "PATH": path_with_git(tmp_path, "true")}
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
        (rule,) = job["template"]["spec"]["podFailurePolicy"]["rules"]
        assert rule["onExitCodes"]["values"] == [2, 3]  # wrong usage, and runs that diverge
        (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
        assert json.dumps(container["args"]).count("--run_dir=/runs/") == 1
