"""The score that a preset reaches in so many minutes, and how it is counted."""

import json

import pytest

from benchmarks import earlier_runs, score_curves, timed_runs
from jaxdqn import errors
from jaxdqn.rundir import layout
from jaxdqn.settings import presets
from tests import program

POINTS = [timed_runs.Point(*one) for one in ((1, 100, 0.0), (3, 300, 20.0), (5, 500, 10.0))]


def test_thresholds_are_reached_on_straight_lines():
    reached = [score_curves.minutes_to(POINTS, threshold) for threshold in (-1, 0, 10, 20, 21)]
    assert reached == [1, 1, 2, 3, None]
    for by, places in (("step", (50, 200, 300, 400, 900)), ("minutes", (0.5, 2, 3, 4, 9))):
        scores = [score_curves.score_at(POINTS, place, by) for place in places]
        assert scores == [None, 10, 20, 15, None]


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
    curves = [
        score_curves.Curve(points, [row(500, 50.0)], 10.0) for points in (POINTS, POINTS, short)
    ]
    found = score_curves.summary(curves, (10, 30), 300, 4)
    assert found["score"] == [10, 2.5, 10]
    assert found["minutes_to"] == {
        "10": {"median": 2, "reached": 2},
        "30": {"median": None, "reached": 0},
    }
    assert found["score_at_equal_steps"] == 20 and found["steps_per_second"] == 10
    assert found["score_at_equal_minutes"] == 15 and found["minutes"] == 5
    early = score_curves.summary(curves, (), 50, 0.5)
    assert early["score_at_equal_steps"] is early["score_at_equal_minutes"] is None
    assert found["memory_gb"] == pytest.approx(1.0000005)
    lines = score_curves.table({"Pong": {"a": found}}).splitlines()
    assert lines[0] == "Pong" and "minutes to 10" in lines[2]
    cells = [cell.strip() for cell in lines[4].split("|")]
    assert cells[3:8] == ["10.0", "2.5 to 10.0", "5.0", "2.0 (2 of 3)", "- (0 of 3)"]


def test_a_median_that_a_short_run_could_change_is_not_known():
    """It ended before the others reached the score, so it might have been the first."""
    rows = [row(500, 50.0)]
    reached, ended = (score_curves.Curve(points, rows, 10.0) for points in (POINTS, POINTS[:1]))
    for curves, median in (([reached] * 2 + [ended], None), ([reached] * 3, 3)):
        (found,) = score_curves.summary(curves, (20,), 300, 1)["minutes_to"].values()
        assert found["median"] == median and found["reached"] == curves.count(reached)


def test_samples_are_those_of_the_steps_that_were_learned():
    """The first row with updates has steps before them too."""
    told = ((100, 0), (200, 3), (300, 8), (500, 5))
    rows = [row(step, 1.0) | {"samples_per_step": samples} for step, samples in told]
    one = score_curves.summary([score_curves.Curve(POINTS, rows, 10.0)], (), 300, 1)
    assert one["samples_per_step"] == 6


def test_minutes_of_a_checkpoint(tmp_path):
    """They begin with the command, at whatever time the run came back later."""
    rows = [row(100, 10.0), row(200, 30.0), row(300, 60.0) | {"wall_time_s": 500.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    scores = {"150": {"return": {"mean": 5.0}}, "300": {"return": {"mean": 9.0}}}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    assert timed_runs.seconds(tmp_path) == 66
    assert timed_runs.points(tmp_path) == [(26 / 60, 150, 5.0), (66 / 60, 300, 9.0)]
    # At 20 steps/s from step 100 on, which was reached after 10 s.
    alone = timed_runs.points(tmp_path, timed_runs.Rate(20.0, 100, 9.0))
    assert alone == [(18.5 / 60, 150, 5.0), (26 / 60, 300, 9.0)]
    assert timed_runs.seconds(tmp_path / "none") == 0


def make_earlier(path, scores=(5.0, 9.0), **changes):
    """A run with evaluations of its own after 200 and 300 steps."""
    layout.create(path, presets.resolve("Pong", "atari", {"seed": 3, **changes}))
    rows = [row(100, 10.0), row(200, 30.0), row(300, 60.0)]
    for step, score in zip((200, 300), scores, strict=False):
        rows.append({"step": step, "eval_return_mean": score, "eval_episodes": 3})
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    return str(path)


def test_earlier_runs_have_their_own_evaluations(tmp_path):
    """What changes nothing in a run that was never resumed may differ."""
    changes = {"total_steps": 350_000, "eval_every_steps": 100, "checkpoint_replay": False}
    (run,) = earlier_runs.read([make_earlier(tmp_path / "run", **changes)])
    assert (run.game, run.variant.name, run.seed) == ("Pong", "atari", 3)
    assert run.curve(None).points == [(36 / 60, 200, 5.0), (66 / 60, 300, 9.0)]
    # Whatever machine it had: 4 s to step 100, then 20 steps/s.
    alone = timed_runs.Rate(20.0, 100, 4.0)
    assert run.curve(alone).points == [(15 / 60, 200, 5.0), (20 / 60, 300, 9)]
    assert earlier_runs.read(None) == []


def test_earlier_runs_that_are_no_curves_of_their_preset(tmp_path):
    changed = make_earlier(tmp_path / "changed", n_step=3, learning_rate=1e-3)
    empty = make_earlier(tmp_path / "empty", scores=())
    unscored = make_earlier(tmp_path / "unscored", scores=(None,))
    twice = [make_earlier(tmp_path / name) for name in ("one", "two")]
    for folders, told in (
        ([changed], "which changes --learning_rate, --n_step; must have the settings of atari"),
        ([empty], "must have a score"),
        ([unscored], "must have a score"),
        (twice, "two, a second run of atari"),
        ([str(tmp_path)], "runs: has .* is not a run directory"),
    ):
        with pytest.raises(errors.SettingError, match=told):
            earlier_runs.read(folders)


def test_a_preset_is_not_both_an_earlier_run_and_a_variant(tmp_path):
    run = make_earlier(tmp_path / "run")
    flags = (f"--runs={run}", "--variants=atari", "--games=Pong", f"--out={tmp_path / 'out'}")
    result = program.run("time_to_score", *flags, package="benchmarks", cwd=program.ROOT)
    assert result.returncode == 2 and "--variants must not have atari too" in result.stderr
    assert not (tmp_path / "out").exists()


def test_variants():
    found = timed_runs.variant("atari:n_step=3:hidden_sizes=64+64:dueling=true", ["Pong"])
    words = ["--preset=atari", "--n_step=3", "--hidden_sizes=64,64", "--dueling=true"]
    assert found.words() == words
    settings = timed_runs.settings(found, "Pong")
    assert settings.n_step == 3 and settings.hidden_sizes == (64, 64) and settings.dueling
    for wrong, told in (
        ("fast", "has fast; must be of"),
        ("atari:n_step", "has n_step; must be"),
        ("atari:steps=3", "has steps=3; must be"),
        ("atari:n_step=x", "n_step=x: invalid"),
        ("atari:n_step=0", "n_step: is 0"),
        ("cartpole:life_loss_ends=maybe", "life_loss_ends=maybe: "),
    ):
        with pytest.raises(errors.SettingError, match=told):
            timed_runs.variant(wrong, ["Pong"])


def measured(folder, *flags):
    """Runs the benchmark; returns what it printed and the points of its only variant and seed."""
    flags += ("--games=CartPole", "--episodes=2", "--log_every_steps=200")
    flags += ("--checkpoint_every_steps=800", f"--runs_dir={folder / 'runs'}")
    flags += (f"--out={folder / 'out'}",)
    result = program.run("time_to_score", *flags, package="benchmarks", cwd=program.ROOT)
    assert result.returncode == 0, result.stderr
    file = max((folder / "out").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    assert file.with_suffix(".md").read_text() in result.stdout
    plot = file.with_name(f"{file.stem}_CartPole.png")
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
    # The rate of another run, which ends too, says how long it would have taken alone.
    _, alone = measured(tmp_path, *flags, "--rate_rounds=1")
    assert [point[1:] for point in alone] == [point[1:] for point in points] and alone != points
    # What another command has written stays as it is.
    assert len(list((tmp_path / "out").glob("*.json"))) == 2
    (run,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    stored = json.loads((run / "config.json").read_text())
    stored["settings"]["n_step"] = 7
    (run / "config.json").write_text(json.dumps(stored))
    changed = program.run(
        *("time_to_score", *flags, "--games=CartPole", f"--runs_dir={tmp_path / 'runs'}"),
        package="benchmarks",
        cwd=program.ROOT,
    )
    assert changed.returncode == 2 and "started with another --n_step; must be" in changed.stderr


def test_a_run_ends_by_the_clock(tmp_path):
    _, points = measured(tmp_path, "--variants=classic", "--minutes=0.03")
    minutes, step, _ = points[-1]
    assert minutes > 0.03 and step < 50_000
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    assert not (folder / "replay").exists()


def test_a_run_that_fails_says_why(tmp_path):
    with pytest.raises(errors.RunError, match="no_step"):
        timed_runs.train(tmp_path / "run", ["--env=CartPole", "--no_step=1"], 1)
