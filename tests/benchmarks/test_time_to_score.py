"""The score that a preset reaches in so many minutes, and how it is counted."""

import json

import pytest

from benchmarks import score_curves, timed_runs
from jaxdqn import errors
from tests import program

POINTS = [timed_runs.Point(*one) for one in ((1, 100, 0.0), (3, 300, 20.0), (5, 500, 10.0))]


def test_thresholds_are_reached_on_straight_lines():
    reached = [score_curves.minutes_to(POINTS, threshold) for threshold in (-1, 0, 10, 20, 21)]
    assert reached == [1, 1, 2, 3, None]
    assert [score_curves.score_at(POINTS, step) for step in (50, 200, 300, 400, 900)] == [
        *(0, 10, 20, 15, 10)
    ]


def row(step, time_s):
    return {
        "step": step,
        "time_s": time_s,
        "wall_time_s": time_s + 6,
        "samples_per_step": 8,
        "memory_used_bytes": 1_000_000_000 + step,
        "episode_return_mean": 0.0,
    }


def test_seeds_that_fall_short_count_as_longer_than_any_other():
    short = [point._replace(score=point.score / 4) for point in POINTS]
    curves = [score_curves.Curve(points, [row(500, 50.0)]) for points in (POINTS, POINTS, short)]
    found = score_curves.summary(curves, (10, 30), 300)
    assert found["score"] == [10, 2.5, 10]
    assert found["minutes_to"] == {
        "10": {"median": 2, "reached": 2},
        "30": {"median": None, "reached": 0},
    }
    assert found["score_at_equal_steps"] == 20 and found["steps_per_second"] == 10
    assert found["memory_gb"] == pytest.approx(1.0000005)
    lines = score_curves.table({"Pong": {"a": found}}).splitlines()
    assert lines[0] == "Pong" and "minutes to 10" in lines[2]
    cells = [cell.strip() for cell in lines[4].split("|")]
    assert cells[3:7] == ["10.0", "2.5 to 10.0", "2.0 (2 of 3)", "- (0 of 3)"]


def test_minutes_of_a_checkpoint(tmp_path):
    """They begin with the command, at whatever time the run came back later."""
    rows = [row(100, 10.0), row(200, 30.0), row(300, 60.0) | {"wall_time_s": 500.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    scores = {"150": {"return": {"mean": 5.0}}, "300": {"return": {"mean": 9.0}}}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    assert timed_runs.seconds(tmp_path) == 66
    assert timed_runs.points(tmp_path) == [(26 / 60, 150, 5.0), (66 / 60, 300, 9.0)]
    assert timed_runs.points(tmp_path, 10.0) == [(21 / 60, 150, 5.0), (36 / 60, 300, 9.0)]
    assert timed_runs.seconds(tmp_path / "none") == 0


def test_variants():
    found = timed_runs.variant("atari:n_step=3:hidden_sizes=64")
    assert found.words() == ["--preset=atari", "--n_step=3", "--hidden_sizes=64"]
    for wrong, told in (("fast", "has fast; must be of"), ("atari:n_step", "has n_step; must be")):
        with pytest.raises(errors.SettingError, match=told):
            timed_runs.variant(wrong)


def measured(folder, *flags):
    """Runs the benchmark; returns what it printed and the points of its only variant and seed."""
    flags += ("--games=CartPole", "--episodes=2", "--log_every_steps=200")
    flags += ("--checkpoint_every_steps=800", f"--runs_dir={folder / 'runs'}")
    flags += (f"--out={folder / 'out'}",)
    result = program.run("time_to_score", *flags, package="benchmarks", cwd=program.ROOT)
    assert result.returncode == 0, result.stderr
    (file,) = (folder / "out").glob("*.json")
    assert file.with_suffix(".md").read_text() in result.stdout
    (plot,) = (folder / "out").glob("*.png")
    assert plot.read_bytes().startswith(b"\x89PNG")
    ((seeds,),) = (
        variants.values() for variants in json.loads(file.read_text())["points"].values()
    )
    return result.stdout, seeds["0"]


def test_a_run_that_ended_is_not_run_again(tmp_path):
    flags = ("--variants=classic:total_steps=1600:keep_checkpoints=2", "--minutes=30")
    shown, points = measured(tmp_path, *flags)
    assert [step // 100 for _, step, _ in points] == [8, 16] and points[-1][2] > 0
    assert measured(tmp_path, *flags) == (shown, points)


def test_a_run_ends_by_the_clock(tmp_path):
    _, points = measured(tmp_path, "--variants=classic", "--minutes=0.03")
    minutes, step, _ = points[-1]
    assert minutes > 0.03 and step < 50_000
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    assert not (folder / "replay").exists()


def test_a_run_that_fails_says_why(tmp_path):
    with pytest.raises(errors.RunError, match="no_step"):
        timed_runs.train(tmp_path / "run", ["--env=CartPole", "--no_step=1"], 1)
