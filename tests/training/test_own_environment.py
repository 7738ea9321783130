"""Environments of somebody's own, through a run's whole life."""

import json
import signal

import numpy as np
import pytest
from PIL import Image

from jaxdqn.envs import registry, watchdog
from jaxdqn.reporting import found_runs
from jaxdqn.rundir import metrics
from jaxdqn.settings import presets
from jaxdqn.training import environments
from tests import program

MODULE = "tests.toys.gym_envs"
EXAMPLES = program.ROOT / "examples"
FLAGS = (
    *("--num_envs=8", "--total_steps=1500", "--learning_starts_steps=300", "--hidden_sizes=16"),
    *("--replay_capacity=1000", "--eval_every_steps=750", "--eval_episodes=4"),
    *("--checkpoint_every_steps=500", "--log_every_steps=125", "--held_out_observations=20"),
)


def flags(env_id, path, *more):
    return (f"--env={MODULE}:{env_id}", *FLAGS, *more, f"--run_dir={path}")


def stop_and_resume(env_id, path, *more):
    """Returns what the resumed run prints."""
    process = program.start(*flags(env_id, path, *more), cwd=program.ROOT)
    process.wait_for("step 8")
    process.send_signal(signal.SIGTERM)
    _, stderr = process.end()
    assert process.returncode == 128 + signal.SIGTERM, stderr
    result = program.train(*flags(env_id, path, *more), cwd=program.ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "run"
    assert "new games" not in stop_and_resume("Adder-v0", path)
    return path


def test_it_resumes_exactly(tmp_path, resumed):
    straight = tmp_path / "straight"
    assert program.train(*flags("Adder-v0", straight), cwd=program.ROOT).returncode == 0
    program.assert_same_end(resumed, straight)


def test_evaluations_without_a_time_limit_end(monkeypatch):
    """Training itself has none."""
    monkeypatch.setattr(registry, "LONGEST_STEPS", 3)
    config = presets.resolve(f"{MODULE}:Endless-v0", "", {})
    dog = watchdog.Watchdog(100, lambda: False, lambda *_: None)
    envs = environments.RunEnvs(config, dog)
    for env, ends in ((envs.evaluation(0, range(2)), True), (envs.training(0, 0, range(2)), False)):
        for _ in range(4):
            step = env.receive()
            env.send(np.zeros(2, np.int32))
        env.close()
        assert step.truncated.tolist() == [ends] * 2
    dog.close()


@pytest.mark.parametrize("env_id", ["Unseeded-v0", "Declared-v0"])
def test_what_cannot_be_played_again_goes_on_with_new_games(tmp_path, env_id):
    shown = stop_and_resume(env_id, tmp_path / "run", "--env_threads=1")
    assert shown.count("new games begin") == 1 and "resuming from step" in shown
    rows, evaluations = program.rows(tmp_path / "run")
    assert rows[-1]["step"] == evaluations[-1]["step"] >= 1500


def run(name, *flags):
    return program.run(name, f"--plugins={MODULE}", *flags, cwd=program.ROOT)


def test_it_is_scored_filmed_and_exported(tmp_path, resumed):
    run_dir = f"--run_dir={resumed}"
    scores = json.loads(run("evaluate", run_dir, "--episodes=4", "--json").stdout)
    assert scores["return"]["mean"] > 0
    assert run("record", run_dir, f"--out={tmp_path / 'film.gif'}").returncode == 0
    assert (tmp_path / "film.gif").stat().st_size > 0
    exported = run("export", run_dir, "--format=onnx", f"--out={tmp_path / 'out'}")
    assert "actions equal" in exported.stdout, exported.stderr
    described = json.loads((tmp_path / "out" / "policy.json").read_text())
    assert described["env"]["id"] == f"{MODULE}:Adder-v0"


def test_the_folder_of_a_run_does_not_say_which_code_runs(resumed):
    result = program.run("evaluate", f"--run_dir={resumed}", "--episodes=4", cwd=program.ROOT)
    assert result.returncode in (1, 2)
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and f"--plugins={MODULE} imports it" in line


def test_an_environment_that_fails_ends_the_run_with_one_line(tmp_path):
    result = program.train(*flags("Failing-v0", tmp_path / "run"), cwd=program.ROOT)
    assert result.returncode == 1
    *_, line = result.stderr.splitlines()
    told = f"error: {MODULE}:Failing-v0 failed: ZeroDivisionError: one over nothing; saved at step "
    assert line.startswith(told)
    saved = program.newest(tmp_path / "run")
    assert saved > 0
    again = program.train(*flags("Failing-v0", tmp_path / "run"), cwd=program.ROOT)
    assert again.stdout.count("failed: ZeroDivisionError: one over nothing: new games begin") == 1
    assert again.returncode == 1 and program.newest(tmp_path / "run") > saved


def test_an_evaluation_in_which_an_environment_fails_has_no_score(tmp_path):
    driver = (
        "from jaxdqn import errors\n"
        "from jaxdqn.training import environments\n"
        "def fails(*_): raise errors.EnvFailedError('it failed')\n"
        "environments.RunEnvs.evaluation = fails\n"
    )
    told = flags("Adder-v0", tmp_path / "run", "--env_threads=1")
    result = program.train(*told, cwd=program.ROOT, driver=driver)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("no evaluation: it failed") == 2
    assert result.stdout.splitlines()[-1].endswith(str(tmp_path / "run"))  # without a score
    _, evaluations = program.rows(tmp_path / "run")
    assert [row["step"] // 750 for row in evaluations] == [1, 2]
    assert all(metrics.has_failed(row) for row in evaluations)
    assert found_runs.read(tmp_path / "run").state == "complete"


def test_the_example_is_learned_and_filmed(tmp_path):
    flags = ("--env=own_environment:Walk-v0", "--total_steps=12000", "--epsilon_decay_steps=4000")
    evaluation = program.last_evaluation(tmp_path / "run", *flags, cwd=EXAMPLES)
    # The shortest ways cost 0.2 on average.
    assert evaluation["eval_return_mean"] > 0.7
    told = ("--plugins=own_environment", f"--run_dir={tmp_path / 'run'}")
    film = program.run("record", *told, f"--out={tmp_path / 'walk.gif'}", cwd=EXAMPLES)
    assert film.returncode == 0 and film.stderr == ""
    with Image.open(tmp_path / "walk.gif") as gif:
        assert gif.width == gif.height and gif.width % 140 == 0  # 7 places of 20 pixels
        pixels = np.asarray(gif.convert("RGB")).astype(int)
    for colour in ((0, 200, 0), (255, 255, 255)):  # a GIF has a palette
        assert (abs(pixels - colour).max(axis=-1) < 30).any()
