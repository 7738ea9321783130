"""Searches for settings: how trials are chosen, judged and resumed, and one that really trains."""

import shlex
import signal
import subprocess
import sys

import pytest

from jaxdqn import errors
from launch import search
from tests import program
from tests.launch.searches import SPACE, open_study, plan_of, space_of, with_trials, write_scores

CHECKPOINT = "*/checkpoints/1*/SHA256SUMS"


def test_a_search_starts_where_runs_without_it_are(tmp_path):
    words = ("--envs=CartPole", "--seeds=4,5", f"--search={tmp_path / 'space.toml'}", "--dry_run")
    space_of(tmp_path, SPACE)
    given = ("--", "--preset=classic", "--learning_rate=1", "--hidden_sizes=32,32")
    told = program.run("sweep", *words, *given, package="launch", cwd=tmp_path)
    one, two = map(shlex.split, told.stdout.splitlines())
    assert {"--batch_size=64", "--hidden_sizes=32,32", "--double_q=true", "--seed=4"} <= set(one)
    assert "--learning_rate=1.0" not in one  # it is outside of the space
    assert one[-3:-1] == ["--seed=4", f"--run_dir={tmp_path}/runs/sweep/CartPole-trial0-seed4"]
    assert "--seed=5" in two and one[:-3] == two[:-3]


def test_a_search_knows_the_parts_of_plugins(tmp_path):
    (tmp_path / "space.toml").write_text('head = ["scalar", "twins"]')
    words = ("--envs=Corridor", f"--search={tmp_path / 'space.toml'}", "--dry_run", "--")
    words += ("--track", "wandb", "--plugins=tests.toys.plugin", "--algorithm=myopic")
    told = program.run("sweep", *words, package="launch", cwd=program.ROOT)
    assert told.returncode == 0, told.stderr
    assert "--head=scalar" in told.stdout


def test_the_first_trial_has_the_settings_to_start_with(tmp_path):
    plan = plan_of(tmp_path)
    start = {"batch_size": 96, "hidden_sizes": "16", "double_q": False}
    trial = search.Trial(open_study(plan, start=start.items()), plan)
    assert set(trial.settings) > {"batch_size=96", "hidden_sizes=16", "double_q=false"}
    assert len(trial.settings) == 4
    (run,) = trial.runs
    assert run.path == tmp_path / "CartPole-trial0-seed0"
    assert run.train_flags[0] == "--total_steps=5000" and "--batch_size=96" in run.train_flags


@pytest.mark.parametrize(("score", "expected"), [("last", 25.0), ("mean", 15.0)])
def test_a_score_is_the_mean_over_seeds(tmp_path, score, expected):
    plan = plan_of(tmp_path, seeds=(0, 1), score=score)
    study = open_study(plan)
    trial = search.Trial(study, plan)
    first, second = trial.runs
    write_scores(first, [0.0, 20.0])
    write_scores(second, [10.0])
    trial.look()
    assert study.trials[0].intermediate_values == {1: 5.0}
    write_scores(second, [10.0, 30.0])
    trial.end()
    assert study.trials[0].intermediate_values == {1: 5.0, 2: expected}
    assert [best.value for best in search.ranked(study)] == [expected]
    assert search.counts(study) == "1 complete"


def test_of_equal_scores_the_one_that_was_there_first_is_best(tmp_path):
    plan = plan_of(tmp_path)
    study = open_study(plan, pruner="none")
    for scores in ([10.0, 20.0, 500.0], [10.0, 500.0, 500.0], [490.0, 490.0, 490.0]):
        trial = search.Trial(study, plan)
        write_scores(trial.runs[0], scores)
        trial.end()
    assert [search.folder_number(best) for best in search.ranked(study)] == [1, 0, 2]


def test_trials_that_fall_behind_are_stopped(tmp_path):
    plan = plan_of(tmp_path)
    study = with_trials(plan, [[score, score, 2 * score] for score in range(10, 16)])
    behind = search.Trial(study, plan)
    (run,) = behind.runs
    (run.path / "replay" / "0").mkdir(parents=True)
    for scores, is_stopped in (([1.0], False), ([1.0, 1.0], True)):  # the first may be bad luck
        write_scores(run, scores)
        behind.look()
        assert run.stop_file.exists() == is_stopped
    assert (run.path / "replay").exists()
    behind.end()
    assert search.counts(study) == "6 complete, 1 pruned"
    assert [best.value for best in search.ranked(study)[:2]] == [30.0, 28.0]
    assert not (run.path / "replay").exists()  # nobody resumes it


def test_a_trial_at_its_end_is_complete_however_bad(tmp_path):
    plan = plan_of(tmp_path)
    study = with_trials(plan, [[score] * 5 for score in range(10, 16)])
    bad = search.Trial(study, plan)
    write_scores(bad.runs[0], [1.0] * 5)
    bad.look()
    assert not bad.runs[0].stop_file.exists()
    bad.end()
    assert search.counts(study) == "7 complete"


def test_trials_are_judged_by_what_is_searched_for(tmp_path):
    """By the mean of all evaluations, one that learned at once is ahead of those that do now."""
    plan = plan_of(tmp_path, score="mean")
    study = with_trials(plan, [[0.0, 0.0, 500.0, 500.0, 500.0]] * 6)
    soon = search.Trial(study, plan)
    write_scores(soon.runs[0], [400.0, 400.0, 400.0, 400.0])
    soon.look()
    assert not soon.runs[0].stop_file.exists()
    assert study.trials[0].intermediate_values[3] == pytest.approx(500 / 3)


def test_an_evaluation_that_was_not_finite_shifts_no_other(tmp_path):
    plan = plan_of(tmp_path, seeds=(0, 1))
    trial = search.Trial(open_study(plan), plan)
    write_scores(trial.runs[0], [None, 20.0, 30.0])
    write_scores(trial.runs[1], [10.0, 40.0, 50.0])
    trial.end()
    study = open_study(plan)
    assert study.trials[0].intermediate_values == {2: 30.0, 3: 40.0}


def test_what_has_no_effect_beside_the_rest_is_left_out(tmp_path):
    plan = plan_of(tmp_path, "head = ['scalar', 'c51']\nnum_atoms = [21, 51]")
    assert plan.settings({"head": "c51", "num_atoms": 21}) == ["head=c51", "num_atoms=21"]
    assert plan.settings({"head": "scalar", "num_atoms": 21}) == ["head=scalar"]


def test_two_searches_do_not_share_a_folder(tmp_path):
    with search.held(tmp_path), pytest.raises(errors.RunError, match="another process searches"):
        search.held(tmp_path).__enter__()
    with search.held(tmp_path):
        pass


def test_a_trial_that_was_cut_off_goes_on_in_its_folder(tmp_path):
    plan = plan_of(tmp_path)
    cut_off = search.Trial(open_study(plan), plan)
    cut_off.runs[0].stop_file.touch()
    study = open_study(plan)
    assert search.wants_another(study, 1) and not search.problems(study)
    again = search.Trial(study, plan)
    assert again.settings == cut_off.settings and again.runs == cut_off.runs
    assert not again.runs[0].stop_file.exists()
    assert not search.wants_another(study, 1) and search.wants_another(study, 2)
    write_scores(again.runs[0], [3.0])
    again.end()
    assert [search.folder_number(best) for best in search.ranked(study)] == [0]


def test_a_trial_that_was_cut_off_too_often_is_tried_again_by_the_next_search(tmp_path):
    plan = plan_of(tmp_path)
    study = open_study(plan)
    trial = search.Trial(study, plan)
    (run,) = trial.runs
    (run.path / "replay" / "0").mkdir(parents=True)
    trial.fail("JAX finds no device", may_resume=True)
    trial.end()
    assert search.counts(study) == "1 failed" and len(search.cut_off(study)) == 1
    assert (run.path / "replay" / "0").exists() and not search.wants_another(study, 1)
    study = open_study(plan)
    assert search.wants_another(study, 1) and not search.problems(study)
    again = search.Trial(study, plan)
    assert again.runs == trial.runs and not search.cut_off(open_study(plan))[1:]


def test_a_search_goes_on_when_the_disk_does_not_answer(tmp_path):
    plan = plan_of(tmp_path)
    study = open_study(plan)
    trial = search.Trial(study, plan)
    (run,) = trial.runs
    run.path.mkdir()
    (run.path / "metrics.jsonl").write_bytes(b"\xff")
    trial.look()
    trial.end()  # its runs are complete, but nobody knows of what
    assert len(search.cut_off(study)) == 1 and "cannot be read" in str(search.problems(study))
    write_scores(run, [7.0])
    trial = search.Trial(open_study(plan), plan)
    (tmp_path / "logs").rmdir()
    trial.fail("lost", may_resume=True)
    (tmp_path / "logs").mkdir()
    trial.look()
    assert run.stop_file.exists()


def test_a_study_survives_a_disk_that_was_full(tmp_path):
    plan = plan_of(tmp_path)
    with_trials(plan, [[1.0]])
    with (tmp_path / search.JOURNAL).open("a") as journal:
        journal.write('{"op_code":5,"worker_id"')
    for _ in range(2):
        assert search.counts(open_study(plan)) == "1 complete"


def test_a_search_goes_on_with_other_numbers(tmp_path):
    plan = plan_of(tmp_path)
    seen = []
    for _ in range(3):
        trial = search.Trial(open_study(plan), plan)
        seen.append(trial.settings[0])
        write_scores(trial.runs[0], [1.0])
        trial.end()
    assert len(set(seen)) == 3


def test_a_run_that_fails_ends_its_trial(tmp_path):
    plan = plan_of(tmp_path, seeds=(0, 1))
    study = open_study(plan)
    trial = search.Trial(study, plan)
    trial.fail("no memory")
    assert all(run.stop_file.exists() for run in trial.runs)
    trial.end()
    empty = search.Trial(study, plan)
    empty.end()
    assert search.problems(study) == {"no memory": 1, "there is no evaluation": 1}
    assert search.counts(study) == "2 failed" and not search.ranked(study)


def test_a_search_learns_from_a_trial_that_diverged_and_does_not_try_it_again(tmp_path):
    plan = plan_of(tmp_path, seeds=(0, 1))
    study = open_study(plan)
    trial = search.Trial(study, plan)
    for run in trial.runs:
        write_scores(run, [9.0])
    trial.fail("step 1,500: loss is inf", may_resume=False, has_diverged=True)
    trial.end()
    assert study.trials[0].state.name == "PRUNED" and study.trials[0].value == 9.0
    assert search.problems(study) == {"step 1,500: loss is inf": 1}
    assert search.counts(study) == "1 failed" and not search.ranked(study)
    assert not search.cut_off(study) and not search.wants_another(open_study(plan), 1)


def test_another_search_in_the_folder_is_refused(tmp_path):
    open_study(plan_of(tmp_path))
    with pytest.raises(errors.SettingError, match="holds another search"):
        open_study(plan_of(tmp_path, "n_step = [1, 3]"))
    with pytest.raises(errors.SettingError, match="holds another search"):
        open_study(plan_of(tmp_path, score="mean"))


def test_a_search_is_known_by_what_its_file_of_flags_says(tmp_path):
    (tmp_path / "my.flags").write_text("--discount=0.9")
    given = (f"--flagfile={tmp_path / 'my.flags'}",)
    open_study(plan_of(tmp_path, flags=given))
    open_study(plan_of(tmp_path, flags=("--discount=0.90",)))
    (tmp_path / "my.flags").write_text("--discount=0.8")
    with pytest.raises(errors.SettingError, match=r"another search, of .* discount=0\.9 "):
        open_study(plan_of(tmp_path, flags=given))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--envs=CartPole", "--search=none.toml"], "--search: none.toml cannot be read"),
        (["--envs=CartPole,Acrobot", "--search=a.toml"], "--envs: a search is for one game"),
        (["--search=a.toml", "--envs=CartPole", "--vary=n_step=1"], "--vary: does not go with"),
        (["--search=a.toml", "--envs=CartPole", "--", "--n_step=x"], "--n_step=x: "),
        (["--search=a.toml", "--envs=CartPole", "--", "--seed=1"], "--seed: cannot be set"),
        (["--search=a.toml", "--envs=CartPole", "--", "--discount=2"], "--discount: is 2.0"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path, words, told):
    (tmp_path / "a.toml").write_text("n_step = [1, 3]")
    program.assert_refused(program.run("sweep", *words, package="launch", cwd=tmp_path), told)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_search_that_was_stopped_ends_with_the_best_of_its_trials(tmp_path):
    (tmp_path / "space.toml").write_text('learning_rate = [1e-3, 3e-3]\nhidden_sizes = ["8", "16"]')
    words = ("--envs=CartPole", f"--search={tmp_path / 'space.toml'}", "--trials=2")
    words += (f"--runs_dir={tmp_path / 'runs'}", "--cpus_per_run=0.5", "--finalists=2", "--")
    words += (
        "--preset=classic",
        "--total_steps=3000",
        "--eval_every_steps=1000",
        "--eval_episodes=2",
    )
    words += ("--checkpoint_every_steps=1000", "--max_episode_steps=100", "--steps_per_update=8")
    first = start_sweep(words)
    program.wait_until(lambda: sorted((tmp_path / "runs").glob(CHECKPOINT)))
    saved = next((tmp_path / "runs").glob(CHECKPOINT)).relative_to(tmp_path / "runs")
    first.send_signal(signal.SIGTERM)
    told, problems = first.communicate(timeout=300)
    assert first.returncode == 143, told + problems
    assert "the same command resumes the runs" in told
    second = start_sweep(words)
    told, problems = second.communicate(timeout=400)
    assert second.returncode == 0, problems
    assert "2 complete" in told and "best trials with seed 1: 2 runs" in told
    assert "--seeds=2-6" in told  # neither that of the search nor the new one
    for trial in range(2):
        new = tmp_path / "runs" / f"CartPole-trial{trial}-seed1"
        assert program.rows(new)[0][-1]["step"] >= 3000
    log = (tmp_path / "runs" / "logs" / f"{saved.parts[0]}.log").read_text()
    assert "stopped by signal 15" in log and "resuming from step" in log
    best = (tmp_path / "runs" / "best.flags").read_text().splitlines()
    given = list(words[words.index("--") + 1 :])
    assert best[:-2] == given and best[-2] in ("--learning_rate=0.001", "--learning_rate=0.003")


def start_sweep(words):
    """Starts a sweep in a process that was not forked: Ray starts others."""
    return subprocess.Popen(
        [sys.executable, "-m", "launch.sweep", *words],
        cwd=program.ROOT,
        env=program.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
