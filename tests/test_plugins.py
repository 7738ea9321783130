"""An algorithm, a head and an environment from outside the package, through a run's whole life."""

import json
import signal

import pytest

from tests import program

PLUGINS = "--plugins=tests.toys.plugin"
FLAGS = (
    *(PLUGINS, "--env=Corridor", "--algorithm=myopic", "--head=twins", "--preset=classic"),
    *("--num_envs=8", "--total_steps=4000", "--learning_starts_steps=500", "--n_step=5"),
    *("--replay_capacity=2000", "--eval_every_steps=2000", "--eval_episodes=8", "--dueling"),
    *("--checkpoint_every_steps=1000", "--log_every_steps=250", "--hidden_sizes=32"),
)


def run(name, *flags):
    result = program.run(name, PLUGINS, *flags, cwd=program.ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def stopped_and_resumed(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugins") / "run"
    process = program.start(*FLAGS, f"--run_dir={path}", cwd=program.ROOT)
    process.wait_for("step 2,2")
    process.send_signal(signal.SIGTERM)
    _, stderr = process.end()
    assert process.returncode == 128 + signal.SIGTERM, stderr
    result = program.train(*FLAGS, f"--run_dir={path}", cwd=program.ROOT)
    assert result.returncode == 0, result.stderr
    return path


def test_it_resumes_exactly_and_learns(tmp_path, stopped_and_resumed):
    straight = tmp_path / "straight"
    assert program.train(*FLAGS, f"--run_dir={straight}", cwd=program.ROOT).returncode == 0
    program.assert_same_end(stopped_and_resumed, straight)
    _, evaluations = program.rows(straight)
    assert evaluations[-1]["eval_return_mean"] == 1.0  # the end of the corridor is reached


def test_it_is_evaluated_exported_filmed_and_reported(tmp_path, stopped_and_resumed):
    run_dir = f"--run_dir={stopped_and_resumed}"
    scores = json.loads(run("evaluate", run_dir, "--episodes=8", "--json"))
    assert scores["return"]["mean"] == 1.0
    assert "actions equal" in run("export", run_dir, "--format=onnx", f"--out={tmp_path / 'out'}")
    described = json.loads((tmp_path / "out" / "policy.json").read_text())
    assert described["env"]["id"] == "toy/Corridor-v0" and len(described["actions"]) == 2
    run("record", run_dir, f"--out={tmp_path / 'film.gif'}")
    assert (tmp_path / "film.gif").stat().st_size > 0
    run("report", f"--runs={stopped_and_resumed}", f"--out={tmp_path / 'report.html'}")
    page = (tmp_path / "report.html").read_text()
    assert "Corridor" in page and "1 complete" in page


def test_without_the_plugin_it_is_refused_in_one_line(tmp_path, stopped_and_resumed):
    for name, flags in (("evaluate", ()), ("train", FLAGS[1:])):
        result = program.run(name, *flags, f"--run_dir={stopped_and_resumed}", cwd=program.ROOT)
        assert result.returncode in (1, 2)
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ") and ("myopic" in line or "Corridor" in line)


def test_a_plugin_that_is_not_there_is_refused_in_one_line():
    result = program.run("train", "--plugins=nothing_here", "--env=CartPole")
    assert result.returncode == 2
    assert result.stderr == (
        "error: --plugins: nothing_here cannot be imported: No module named 'nothing_here'\n"
    )


def test_a_setting_that_the_algorithm_does_not_read_is_refused():
    result = program.run("train", *FLAGS, "--target_tau=0.5", cwd=program.ROOT)
    assert result.returncode == 2
    assert result.stderr == "error: --target_tau: has no effect with --algorithm=myopic\n"
