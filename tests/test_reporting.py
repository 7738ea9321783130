"""The page that compares runs, and what it works out."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from jaxdqn import presets
from jaxdqn.runtime import aggregates, curves, reporting, run_dir, runs
from tests import program


def make_run(path, env="Breakout", score=100.0, total_steps=2000, steps=2000, **changes):
    """A run that has gone so far, its return rising to `score`."""
    changes |= {"total_steps": total_steps}
    run_dir.create(path, presets.resolve(env, "", changes))
    rows = []
    for step in range(500, steps + 1, 500):
        told = {"episode_return_mean": score * step / 2000, "loss": 1 / step, "q_mean": 1.0}
        told |= {"epsilon": 0.5, "steps_per_second": 100.0, "time_s": step / 100}
        rows.append({"step": step, **told})
    rows.append({"step": steps, "eval_return_mean": score, "eval_episodes": 3})
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_interquartile_mean_and_the_optimality_gap():
    assert aggregates.interquartile_mean(np.array([8.0, 1, 2, 7, 3, 6, 4, 5])) == 4.5
    assert aggregates.optimality_gap(np.array([0.5, 2.0])) == 0.25
    both = np.array([[1.0, 2, 3, 4], [0, 0, 0, 8]])
    np.testing.assert_allclose(aggregates.interquartile_mean(both), [2.5, 0])


def test_runs_are_drawn_within_their_game():
    # One run of each game: whichever are drawn, the scores are the same.
    told = aggregates.over_games({"A": [0.5], "B": [1.5]})
    assert told["mean of games"] == aggregates.Estimate(1.0, 1.0, 1.0)
    told = aggregates.over_games({"A": [0.0, 1.0, 0.0, 1.0], "B": [1.0, 1.0, 1.0, 1.0]})
    mean = told["mean of games"]
    assert mean.value == 0.75
    assert 0.5 <= mean.low < 0.75 < mean.high <= 1.0  # B's share never varies
    # A game with many runs counts as much as one with few, but where all runs are pooled.
    told = aggregates.over_games({"A": [0.0] * 9, "B": [0.8], "C": [1.0]})
    assert told["mean of games"].value == pytest.approx(0.6)
    assert told["median of games"].value == pytest.approx(0.8)
    assert told["optimality gap"].value == pytest.approx((9 + 0.2) / 11)


def test_the_mean_of_curves_and_its_interval():
    curves = np.array([[1.0, 5], [2, 5], [3, 5]])
    mean, low, high = aggregates.over_seeds(curves)
    np.testing.assert_allclose(mean, [2, 5])
    np.testing.assert_allclose(high - mean, [4.3027 / np.sqrt(3), 0], rtol=1e-4)  # t(0.975, 2)
    np.testing.assert_allclose(mean - low, high - mean)
    for part in aggregates.over_seeds(curves[:2]):
        np.testing.assert_allclose(part, [1.5, 5])


def test_what_is_read_of_a_run(tmp_path):
    run = runs.read(make_run(tmp_path / "whole"))
    assert run.state == "complete" and run.step == 2000 and not run.problem and not run.notes
    assert len(run.training) == 4 and len(run.evaluations) == 1
    assert runs.read(make_run(tmp_path / "half", steps=1000)).state == "at 50%"
    cut = make_run(tmp_path / "cut")
    lines = (cut / "metrics.jsonl").read_text()
    (cut / "metrics.jsonl").write_text(lines[:-10] + "\n[1]\n" + '{"step": "x"}\n')
    run = runs.read(cut)
    assert len(run.training) == 4 and run.notes == ["3 unreadable lines in metrics.jsonl"]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: (path / "config.json").write_text("{"), "is not a run directory"),
        (lambda path: (path / "config.json").unlink(), "is not a run directory"),
        (lambda path: (path / "metrics.jsonl").write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    ],
)
def test_a_broken_run_is_shown_as_that(tmp_path, damage, problem):
    damage(make_run(tmp_path / "broken"))
    run = runs.read(tmp_path / "broken")
    assert run.state == "broken" and problem in run.problem
    html = reporting.build([run, runs.read(make_run(tmp_path / "good"))])
    assert problem in html and "2 runs: 1 complete, 0 under way or stopped, 1 broken" in html


def test_runs_are_grouped_by_how_they_learn(tmp_path):
    found = [
        runs.read(make_run(tmp_path / f"{n_step}-{seed}", n_step=n_step, seed=seed))
        for n_step in (1, 3)
        for seed in (0, 1)
    ]
    assert runs.labels(found) == ["atari, n_step=1"] * 2 + ["atari, n_step=3"] * 2
    assert runs.labels(found[:2]) == ["atari"] * 2
    # Over games too, and a longer run is another one.
    other = runs.read(make_run(tmp_path / "pong", env="Pong", n_step=3))
    assert runs.labels([found[0], other]) == ["atari, n_step=1", "atari, n_step=3"]
    longer = runs.read(make_run(tmp_path / "longer", total_steps=4000, log_every_steps=5))
    assert runs.labels([found[0], longer]) == ["atari, total_steps=2000", "atari, total_steps=4000"]


def test_a_run_is_complete_when_it_has_scored_itself(tmp_path):
    path = make_run(tmp_path / "run")
    rows = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (path / "metrics.jsonl").write_text("".join(rows[:-1]))
    assert runs.read(path).state == "at 100%"
    (path / "metrics.jsonl").write_text("")
    run = runs.read(path)
    assert run.state == "started"
    html = reporting.build([run, runs.read(make_run(tmp_path / "good"))])
    assert "1 complete, 1 under way or stopped, 0 broken" in html


def test_films_that_are_links_or_too_large_stay_outside(tmp_path):
    path = make_run(tmp_path / "run")
    (tmp_path / "secret").write_text("secret")
    (path / "videos").mkdir()
    (path / "videos" / "7.mp4").symlink_to(tmp_path / "secret")
    (path / "videos" / "5.mp4").mkdir()
    assert not runs.read(path).videos
    with (path / "videos" / "3.mp4").open("wb") as film:
        film.truncate(40_000_000)
    html = reporting.build([runs.read(path)])
    assert "3.mp4, left out: the page would grow too large" in html and "<video" not in html


def test_the_page_is_one_file_and_says_what_it_should(tmp_path):
    made = [make_run(tmp_path / "a", score=90.0), make_run(tmp_path / "b", score=110.0, seed=1)]
    made.append(make_run(tmp_path / "c", score=100.0, seed=2))
    made.append(make_run(tmp_path / "p", env="Pong", score=14.6))
    made.append(make_run(tmp_path / "<script>alert(1)</script>", env="Pong", steps=1000))
    (tmp_path / "a" / "videos").mkdir()
    (tmp_path / "a" / "videos" / "1000.mp4").write_bytes(b"older")
    (tmp_path / "a" / "videos" / "2000.mp4").write_bytes(b"film")
    html = reporting.build([runs.read(path) for path in made])
    assert "5 runs: 4 complete, 1 under way or stopped, 0 broken" in html
    assert "<script" not in html and "&lt;script&gt;" in html
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)  # nothing is fetched
    assert "data:video/mp4;base64,ZmlsbQ==" in html and "Play at step 2,000" in html
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", html)
    row = cells[cells.index("Breakout, atari") :]
    assert row[1:7] == ["3", "100.0", "75.2 to 124.8", "341%", "1.7", "30.5"]
    row = cells[cells.index("Pong, atari") :]
    assert row[1:5] == ["1", "14.6", "", "100%"]  # the run that is under way is no score
    assert "interquartile mean" in html and "4 runs of 2 games" in html
    assert html.count("<svg") == 12 and "currentColor" in html and "mathdefault" not in html


def test_figures_as_pictures(tmp_path):
    made = [make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1)]
    told = reporting.write(made, tmp_path / "report.html", tmp_path / "report")
    assert told == f"{tmp_path / 'report.html'}: 2 runs"
    pictures = sorted((tmp_path / "report").iterdir())
    assert len(pictures) == 6 and pictures[0].name == "Breakout_epsilon.png"
    with Image.open(tmp_path / "report" / "Breakout_return.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(10**6)}
    assert (59, 143, 217) in colours  # the line is there


def test_numbers_that_are_none_are_left_out():
    rows = [{"step": 1, "loss": None}, {"step": 2, "loss": 0.5}, {"step": 3, "loss": "high"}]
    where, values = curves.curve([*rows, {"step": 4, "loss": float("nan")}], "step", "loss")
    assert where.tolist() == [2] and values.tolist() == [0.5]


def test_report_as_a_program(tmp_path):
    make_run(tmp_path / "runs" / "a")
    result = program.run("report", "--runs=runs/*", "--out=report.html", "--png", cwd=tmp_path)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert result.stdout == "report.html: 1 runs\n"
    assert (tmp_path / "report" / "Breakout_loss.png").exists()
    before = (tmp_path / "report.html").read_bytes()
    for words, message in (
        ("--runs=runs/* --out=report.html", "report.html exists"),
        ("--runs=nothing/* --out=other.html", "--runs: no folder is nothing/*"),
        ("--runs=runs/*", "--out: name the page"),
        ("--out=report.pdf", "ends in .html"),
    ):
        result = program.run("report", *words.split(), cwd=tmp_path)
        assert result.returncode == 2 and message in result.stderr, words
        assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "report.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "report.html", "runs"]
