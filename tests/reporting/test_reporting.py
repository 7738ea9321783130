"""The page that compares runs, and what it works out."""

import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxdqn import wording
from jaxdqn.reporting import (
    curves,
    figures,
    found_runs,
    metric_columns,
    page,
    statistics,
    tables,
)
from jaxdqn.rundir import known_curves, layout
from jaxdqn.settings import presets
from tests import program


def make_run(path, env="Breakout", score=100.0, total_steps=2000, steps=2000, **changes):
    """A run that has gone so far, its return rising to `score`."""
    changes |= {"total_steps": total_steps}
    layout.create(path, presets.resolve(env, "atari", changes))
    rows = []
    for step in range(500, steps + 1, 500):
        told = {"episode_return_mean": score * step / 2000, "loss": 1 / step, "q_mean": 1.0}
        told |= {"epsilon": 0.5, "steps_per_second": 100.0, "time_s": step / 100}
        rows.append({"step": step, **told})
    rows.append({"step": steps, "eval_return_mean": score, "eval_episodes": 3})
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_interquartile_mean_and_the_optimality_gap():
    assert statistics.interquartile_mean(np.array([8.0, 1, 2, 7, 3, 6, 4, 5])) == 4.5
    assert statistics.optimality_gap(np.array([0.5, 2.0])) == 0.25
    both = np.array([[1.0, 2, 3, 4], [0, 0, 0, 8]])
    np.testing.assert_allclose(statistics.interquartile_mean(both), [2.5, 0])


def test_runs_are_drawn_within_their_game():
    # One run of each game: whichever are drawn, the scores are the same.
    told = statistics.over_games({"A": [0.5], "B": [1.5]})
    assert told["mean of games"] == statistics.Estimate(1.0, 1.0, 1.0)
    told = statistics.over_games({"A": [0.0, 1.0, 0.0, 1.0], "B": [1.0, 1.0, 1.0, 1.0]})
    mean = told["mean of games"]
    assert mean.value == 0.75
    assert 0.5 <= mean.low < 0.75 < mean.high <= 1.0  # B's share never varies
    # A game with many runs counts as much as one with few, but where all runs are pooled.
    told = statistics.over_games({"A": [0.0] * 9, "B": [0.8], "C": [1.0]})
    assert told["mean of games"].value == pytest.approx(0.6)
    assert told["median of games"].value == pytest.approx(0.8)
    assert told["optimality gap"].value == pytest.approx((9 + 0.2) / 11)


def test_few_runs_have_no_interval():
    varied = {"A": [0.0, 1.0, 0.5], "B": [0.5, 2.0, 1.0]}
    assert all(low < high for _, low, high in statistics.over_games(varied).values())
    for value, low, high in statistics.over_games(varied | {"C": [0.5, 0.7]}).values():
        assert low == high == value


def test_scores_whose_sums_overflow():
    """Largest is the largest float64, 1.8e308."""
    for scores in ([1.7e308] * 5, [-1.7e308, 1.7e308, -1.7e308, 1.7e308]):
        mean, low, high = statistics.over_seeds(np.array(scores)[:, None])
        assert mean[0] == pytest.approx(np.mean(np.array(scores) / 1e308) * 1e308)
        assert low[0] <= mean[0] <= high[0]
    assert (low[0], high[0]) == (-np.inf, np.inf)
    told = statistics.over_games({"A": [1.7e308] * 9, "B": [1.7e308] * 3, "C": [-1.7e308] * 3})
    assert told["interquartile mean"].value == pytest.approx(1.7e308)
    assert told["median of games"] == pytest.approx((1.7e308,) * 3)
    assert told["mean of games"].value == pytest.approx(1.7e308 / 3)
    assert told["optimality gap"].value == pytest.approx(1.7e308 / 5)


def test_the_mean_of_curves_and_its_interval():
    curves = np.array([[1.0, 5], [2, 5], [3, 5]])
    mean, low, high = statistics.over_seeds(curves)
    np.testing.assert_allclose(mean, [2, 5])
    np.testing.assert_allclose(high - mean, [4.3027 / np.sqrt(3), 0], rtol=1e-4)  # t(0.975, 2)
    np.testing.assert_allclose(mean - low, high - mean)
    for part in statistics.over_seeds(curves[:2]):
        np.testing.assert_allclose(part, [1.5, 5])


def test_what_is_read_of_a_run(tmp_path):
    run = found_runs.read(make_run(tmp_path / "whole"))
    assert run.state == "complete" and run.step == 2000 and not run.problem and not run.notes
    assert len(run.columns["loss"]) == 4 and len(run.evaluations) == 1
    assert found_runs.read(make_run(tmp_path / "half", steps=1000)).state == "at 50%"
    cut = make_run(tmp_path / "cut")
    lines = (cut / "metrics.jsonl").read_text()
    (cut / "metrics.jsonl").write_text(lines[:-10] + "\n[1]\n" + '{"step": "x"}\n')
    run = found_runs.read(cut)
    assert len(run.columns["loss"]) == 4 and run.notes == ["3 unreadable lines in metrics.jsonl"]
    (cut / "metrics.jsonl").write_text(lines + '{"step": 3')  # a row that is being written
    run = found_runs.read(cut)
    assert run.state == "complete" and len(run.columns["loss"]) == 4 and not run.notes


def test_a_game_of_two_sources_counts_once(tmp_path):
    envs = ("Breakout", "Pong", "ale:Breakout", "ale:Pong", "gymnasium:CartPole-v1")
    made = [make_run(tmp_path / str(n), env, num_envs=32) for n, env in enumerate(envs)]
    shown = [found_runs.read(path) for path in made]
    table = tables.aggregates(found_runs.by_game(shown)[0])
    told = [row[:2] for row in table["rows"]]
    assert told == [["atari, EnvPool", "2 runs of 2 games"], ["atari, ALE", "2 runs of 2 games"]]
    (row,) = tables.aggregates(found_runs.by_game(shown[:3])[0])["rows"]
    assert row[1] == "2 runs of 2 games"  # a second Breakout is no second game
    (row,) = tables.aggregates(found_runs.by_game(shown[:2])[0])["rows"]
    assert row[0] == "atari"


def test_groups_are_compared_over_the_games_that_all_of_them_have(tmp_path):
    def made(n_step, games):
        paths = [tmp_path / f"{n_step}-{game}" for game in games]
        return [
            found_runs.read(make_run(path, game, n_step=n_step))
            for path, game in zip(paths, games, strict=True)
        ]

    both = [*made(1, ("Breakout", "Pong", "Seaquest")), *made(3, ("Breakout", "Pong"))]
    table = tables.aggregates(found_runs.by_game(both)[0])
    assert [row[1] for row in table["rows"]] == ["2 runs of 2 games"] * 2
    assert table["rows"][0][2:] == table["rows"][1][2:]  # all runs score 100
    assert (
        table["note"] == "Over the 2 games that all groups have scores of. Not included: Seaquest."
    )
    assert table["note"] in page.build(both)
    apart = [*made(5, ("Breakout", "Pong")), *made(7, ("Seaquest", "Qbert"))]
    table = tables.aggregates(found_runs.by_game(apart)[0])
    assert [row[1] for row in table["rows"]] == ["2 runs of 2 games"] * 2
    assert table["note"].startswith("The groups have no game in common")
    # One game is no aggregate over games.
    one = [*made(9, ("Breakout", "Pong")), *made(11, ("Pong", "Qbert"))]
    table = tables.aggregates(found_runs.by_game(one)[0])
    assert [row[1] for row in table["rows"]] == ["2 runs of 2 games"] * 2
    assert table["note"].startswith("The groups have only Pong in common, so their rows cannot be")
    assert tables.aggregates(found_runs.by_game(both[:2])[0])["note"] == ""


def test_a_game_that_is_not_here_is_shown_by_its_name(tmp_path):
    path = make_run(tmp_path / "run", "gymnasium:CartPole-v1")
    stored = (path / "config.json").read_text()
    (path / "config.json").write_text(stored.replace("CartPole-v1", "Elsewhere-v1"))
    by_game, _ = found_runs.by_game([found_runs.read(path)])
    assert list(by_game) == ["gymnasium:Elsewhere-v1"]
    table = tables.final_scores(by_game)
    assert table["rows"][0][:3] == ["gymnasium:Elsewhere-v1, atari", 1, "100.0"]


def test_what_only_some_learn_from_is_plotted_where_it_is_told(tmp_path):
    plain, other = (found_runs.read(make_run(tmp_path / name)) for name in ("plain", "other"))
    rows = [{"step": step, "lambda_return_error": 0.5} for step in (500, 1000)]
    told = {"return_std": 0.2, "return_entropy": 1.0, "noise_scale": 0.1}
    told |= {"priority_p50": 0.3, "priority_p99": 2.0}
    with (tmp_path / "other" / "metrics.jsonl").open("a") as file:
        for row in (*rows, *({"step": 2000, "episode_return_mean": 1.0, "time_s": 9.0} | told,)):
            file.write(json.dumps(row) + "\n")
    other = found_runs.read(other.path)
    kept = other.columns["lambda_return_error"]
    assert kept[np.isfinite(kept)].tolist() == [0.5, 0.5]
    assert "lambda_return_error" not in plain.columns
    names = [figure.name for figure in figures.of_game("Breakout", {"plain": [plain]})]
    assert "loss" in names and not {"lambda_return_error", *told} & set(names)
    names = [
        figure.name for figure in figures.of_game("Breakout", {"plain": [plain], "other": [other]})
    ]
    assert {"lambda_return_error", *told} <= set(names)


def test_a_legend_says_where_a_mean_ends(tmp_path):
    whole, half = (
        found_runs.read(make_run(tmp_path / str(steps), steps=steps)) for steps in (2000, 1000)
    )
    assert "their mean, with" in figures.legend({"a": [whole, whole], "b": [half]})
    told = figures.legend({"a": [whole, half]})
    assert "Bold: their mean as far as all of them have come, with" in told
    slow = whole._replace(last=whole.last | {"time_s": 2 * whole.last["time_s"]})
    assert "as far as all of them" in figures.legend({"a": [whole, slow]})  # over time


def test_earlier_runs_with_the_same_settings_are_drawn_as_far_as_a_run_has_come(
    tmp_path, monkeypatch, request
):
    run = found_runs.read(make_run(tmp_path / "run", steps=1000))
    scores = {"eval_return_mean": 0.5, "eval_return_std": 0.3, "eval_episodes": 9}
    rows = [scores | {"step": step} for step in (500, 2000)]
    (tmp_path / "known.jsonl").write_text(json.dumps(known_curves.entry(run.config, rows, "here")))

    def caption():
        figure, *_ = figures.of_game("Breakout", {"plain": [run]})
        return figure.caption

    assert "bars" not in caption()  # the package knows of later steps alone
    monkeypatch.setattr(known_curves, "FILE", tmp_path / "known.jsonl")
    request.addfinalizer(known_curves.stored.cache_clear)
    known_curves.stored.cache_clear()
    assert "bars: those of earlier runs" in caption()


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
    run = found_runs.read(tmp_path / "broken")
    assert run.state == "broken" and problem in run.problem
    html = page.build([run, found_runs.read(make_run(tmp_path / "good"))])
    assert problem in html and "2 runs: 1 complete, 0 running or stopped, 1 broken" in html


def test_runs_are_grouped_by_how_they_learn(tmp_path):
    found = [
        found_runs.read(make_run(tmp_path / f"{n_step}-{seed}", n_step=n_step, seed=seed))
        for n_step in (1, 3)
        for seed in (0, 1)
    ]
    assert found_runs.labels(found) == ["atari, n_step=1"] * 2 + ["atari, n_step=3"] * 2
    assert found_runs.labels(found[:2]) == ["atari"] * 2
    # Over games too, and a longer run is another one.
    other = found_runs.read(make_run(tmp_path / "pong", env="Pong", n_step=3))
    assert found_runs.labels([found[0], other]) == ["atari, n_step=1", "atari, n_step=3"]
    # Values are written as on the command line.
    single = found_runs.read(make_run(tmp_path / "single", double_q=False))
    expected = ["atari, double_q=true", "atari, double_q=false"]
    assert found_runs.labels([found[0], single]) == expected
    longer = found_runs.read(make_run(tmp_path / "longer", total_steps=4000, log_every_steps=5))
    assert found_runs.labels([found[0], longer]) == [
        "atari, total_steps=2000",
        "atari, total_steps=4000",
    ]


def test_a_seed_counts_once(tmp_path):
    made = [make_run(tmp_path / f"{seed}", seed=seed, score=100.0 + seed) for seed in range(2)]
    short = make_run(tmp_path / "0-again", seed=0, score=900.0, steps=1000)
    found = [found_runs.read(path) for path in (short, *made)]
    by_game, left_out = found_runs.by_game(found)
    assert by_game["Breakout"]["atari"] == found[1:] and left_out == [(found[0], found[1])]
    html = page.build(found)
    assert row_of(html, "Breakout, atari")[1:4] == ["2", "100.5", ""]  # two seeds: no interval
    assert f"<b>{short}</b>: left out of scores and plots: {made[0]} has the same" in html
    assert "left out of scores" not in page.build(found[1:])


def test_a_run_is_complete_when_it_has_scored_itself(tmp_path):
    path = make_run(tmp_path / "run")
    rows = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (path / "metrics.jsonl").write_text("".join(rows[:-1]))
    assert found_runs.read(path).state == "at 100%"
    (path / "metrics.jsonl").write_text("")
    run = found_runs.read(path)
    assert run.state == "started"
    html = page.build([run, found_runs.read(make_run(tmp_path / "good"))])
    assert "1 complete, 1 running or stopped, 0 broken" in html


def test_films_that_are_links_or_too_large_stay_outside(tmp_path):
    path = make_run(tmp_path / "run")
    (tmp_path / "secret").write_text("secret")
    (path / "videos").mkdir()
    (path / "videos" / "7.mp4").symlink_to(tmp_path / "secret")
    (path / "videos" / "5.mp4").mkdir()
    assert not found_runs.read(path).videos
    with (path / "videos" / "3.mp4").open("wb") as film:
        film.truncate(40_000_000)
    html = page.build([found_runs.read(path)])
    assert "3.mp4, left out: the page would grow too large" in html and "<video" not in html


def test_the_page_is_one_file_and_says_what_it_should(tmp_path):
    made = [make_run(tmp_path / "a", score=90.0), make_run(tmp_path / "b", score=110.0, seed=1)]
    made.append(make_run(tmp_path / "c", score=100.0, seed=2))
    made.append(make_run(tmp_path / "p", env="Pong", score=14.6))
    made.append(make_run(tmp_path / "<script>alert(1)</script>", env="Pong", steps=1000))
    (tmp_path / "a" / "videos").mkdir()
    (tmp_path / "a" / "videos" / "1000.mp4").write_bytes(b"older")
    (tmp_path / "a" / "videos" / "2000.mp4").write_bytes(b"film")
    html = page.build([found_runs.read(path) for path in made])
    assert "5 runs: 4 complete, 1 running or stopped, 0 broken" in html
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
    told = page.write(made, tmp_path / "report.html", tmp_path / "report")
    assert told == f"{tmp_path / 'report.html'}: 2 runs"
    pictures = sorted((tmp_path / "report").iterdir())
    assert len(pictures) == 6 and pictures[0].name == "Breakout_epsilon.png"
    with Image.open(tmp_path / "report" / "Breakout_return.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(10**6)}
    assert (59, 143, 217) in colours  # the line is there


def test_numbers_that_are_none_are_left_out():
    rows = [{"step": 1, "loss": None}, {"step": 2, "loss": 0.5}, {"step": 3, "loss": "high"}]
    where, values = curves.curve(
        metric_columns.of([*rows, {"step": 4, "loss": float("nan")}]), "step", "loss"
    )
    assert where.tolist() == [2] and values.tolist() == [0.5]


def write_rows(path, *rows):
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def cells(html):
    """The rows of all tables, as lists of cells."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in rows]


def row_of(html, first):
    return next(row for row in cells(html) if row and row[0].endswith(first))


@pytest.mark.parametrize("score", [None, float("inf"), float("-inf"), float("nan"), 10**400, "x"])
def test_a_run_whose_last_score_is_not_finite_is_complete_and_counts_for_no_mean(tmp_path, score):
    """An environment's return may be infinite; such a score is written as null."""
    made = [make_run(tmp_path / f"good-{seed}", seed=seed) for seed in range(2)]
    path = make_run(tmp_path / "odd", seed=2)
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    first = rows[-1] | {"step": 1000, "eval_return_mean": 70.0}
    last = rows[-1] | {"eval_return_mean": score, "eval_return_std": None}
    made.append(write_rows(path, *rows[:2], first, *rows[2:-1], last))
    run = found_runs.read(path)
    assert run.state == "complete" and run.score is None and run.best_score == 70
    html = page.build([found_runs.read(path) for path in made])
    assert "3 runs: 3 complete" in html
    assert row_of(html, "Breakout, atari")[1:3] == ["2 of 3", "100.0"]
    assert "Not included: 1 run whose last evaluation has no score." in html
    assert row_of(html, "/odd")[3:5] == ["no score", "70.0"]
    # And where nothing is left to average.
    html = page.build([run])
    assert row_of(html, "Breakout, atari")[1:5] == ["0 of 1", "no score", "", ""]


def test_scores_tell_of_the_runs_that_have_no_part_in_them(tmp_path):
    """What diverged is worse than the rest, and would be missing without a word."""
    made = [make_run(tmp_path / f"{seed}", seed=seed) for seed in range(2)]
    made += [make_run(tmp_path / "pong", env="Pong")]
    made += [make_run(tmp_path / str(seed), seed=seed, steps=1000) for seed in (2, 3, 4)]
    for path, step in ((made[-2], 1010), (made[-1], 500)):  # the last one went on from there
        (path / layout.NONFINITE).mkdir()
        (path / layout.NONFINITE / f"{step}.npz").touch()
    found = [found_runs.read(path) for path in made]
    assert [run.state for run in found[3:]] == ["at 50%", "diverged", "at 50%"]
    by_game, _ = found_runs.by_game(found)
    for table in (tables.final_scores(by_game), tables.aggregates(by_game)):
        assert table["note"] == "Not included: 1 run that diverged, 2 runs running or stopped."
    rows = tables.final_scores(by_game)["rows"]
    assert [row[1] for row in rows] == ["2 of 5", 1]


@pytest.mark.parametrize(("episodes", "state"), [(3, "complete"), (0, "diverged")])
def test_a_run_that_went_on_from_its_last_step_is_complete(tmp_path, episodes, state):
    """Its last evaluation shows that it did; what a run without one did is not known."""
    path = make_run(tmp_path / "run", eval_episodes=episodes)
    (path / layout.NONFINITE).mkdir()
    (path / layout.NONFINITE / "2000.npz").touch()
    assert found_runs.read(path).state == state


def test_a_run_that_is_not_to_score_itself_has_no_score(tmp_path):
    path = make_run(tmp_path / "run", eval_episodes=0)
    lines = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (path / "metrics.jsonl").write_text("".join(lines[:-1]))
    html = page.build([found_runs.read(path)])
    assert row_of(html, "/run")[1:5] == ["complete", "2,000", "", ""] and "<h2>Scores" not in html


@pytest.mark.parametrize("value", [0, -1.5, 1e308, -1e308, 5e-324, None, float("inf"), 10**400])
def test_values_of_all_sizes_in_plots_and_tables(tmp_path, value):
    names = ("episode_return_mean", "loss", "q_mean", "avg_max_q_value", "epsilon", "time_s")
    made = []
    for game, seed in (("Breakout", 0), ("Breakout", 1), ("Breakout", 2), ("Pong", 0)):
        path = make_run(tmp_path / f"{game}-{seed}", env=game, seed=seed)
        training = dict.fromkeys((*names, "steps_per_second"), value)
        score = {"eval_return_mean": value, "eval_episodes": 3}
        made.append(write_rows(path, {"step": 2000} | training, {"step": 2000} | score))
    html = page.build([found_runs.read(path) for path in made])
    assert "4 runs: 4 complete" in html
    assert all(len(cell) < 60 for row in cells(html) for cell in row[1:])  # no hundreds of digits
    assert "nan" not in {word for row in cells(html) for cell in row for word in cell.split()}


def test_zeros_that_a_logarithmic_axis_leaves_out_are_told_of(tmp_path):
    note = "Gaps are values that a logarithmic axis cannot show"
    path = make_run(tmp_path / "run")
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert note not in page.build([found_runs.read(path)])
    write_rows(path, rows[0] | {"loss": 0}, *rows[1:])
    assert note in page.build([found_runs.read(path)])
    # The axis is linear where there is nothing but zeros.
    write_rows(path, *(row | {"loss": 0} for row in rows))
    assert note not in page.build([found_runs.read(path)])


def test_rows_of_impossible_steps_are_unreadable(tmp_path):
    path = make_run(tmp_path / "run")
    text = (path / "metrics.jsonl").read_text()
    (path / "metrics.jsonl").write_text(text + f'{{"step": {10**400}, "loss": 1}}\n')
    run = found_runs.read(path)
    assert run.step == 2000 and run.notes == ["1 unreadable line in metrics.jsonl"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)", "&lt;script&gt;alert(1)"),
        ("'single' and \"double\" & co", "&#39;single&#39; and &#34;double&#34; &amp; co"),
        ("two\nlines", "two\\nlines"),
        ("\udcff not UTF-8", "\\udcff not UTF-8"),
        ("Grün 速い", "Grün 速い"),
        ("l" * 255, "l" * 255),
    ],
)
def test_names_of_folders_of_all_kinds(tmp_path, name, shown):
    made = [make_run(tmp_path / name), make_run(tmp_path / "other", seed=1, n_step=3)]
    (tmp_path / name / "videos").mkdir()
    (tmp_path / name / "videos" / "5.mp4").write_bytes(b"film")
    (tmp_path / "broken" / name).mkdir(parents=True)
    (tmp_path / "broken" / name / "something").touch()
    made.append(tmp_path / "broken" / name)
    told = page.write(made, tmp_path / "report.html", None)
    assert told == f"{tmp_path / 'report.html'}: 3 runs, 1 of them broken"
    html = (tmp_path / "report.html").read_bytes().decode("utf-8")
    # Twice in the table of runs, once in that of settings, once below the film, and as a problem.
    assert html.count(shown) == 6
    assert "<script" not in html


def test_a_page_is_utf8_whatever_the_locale(tmp_path):
    make_run(tmp_path / "Grün", seed=1)
    driver = "import locale; assert locale.getencoding() == 'ANSI_X3.4-1968', locale.getencoding()"
    program_ = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", f"{driver}\n{_REPORT}"],
        cwd=tmp_path,
        env={**program.environment(), "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=False,
    )
    assert program_.returncode == 0, program_.stderr
    html = (tmp_path / "report.html").read_bytes().decode("utf-8")
    assert "report.html: 1 run\n" in program_.stdout.decode() and html.count("Gr\\udcc3") == 1


def test_many_groups_make_one_readable_page(tmp_path):
    made = []
    for n_step, seed in itertools.product(range(1, 41), range(10)):
        path = tmp_path / f"{n_step}-{seed}"
        if not seed:
            make_run(path, n_step=n_step)
        else:
            path.mkdir()
            for file in ("config.json", "metrics.jsonl"):
                text = (tmp_path / f"{n_step}-0" / file).read_text()
                (path / file).write_text(text.replace('"seed": 0', f'"seed": {seed}'))
        made.append(path)
    html = page.build([found_runs.read(path) for path in made])
    assert html.count("<svg") == html.count('<figure class="panels">') == 6
    assert "400 runs: 400 complete" in html and len(html) < 3_000_000
    titles = re.findall(r">(n_step=\d+)</text>", html)
    assert titles == [f"n_step={i}" for i in range(1, 41)] * 6  # by number: 2 before 10
    assert "40 groups, each in color; the means of all groups in gray" in html
    assert "><summary>Settings that differ between 400 runs" in html


def test_settings_are_told_of_runs_by_their_paths(tmp_path):
    made = [make_run(tmp_path / folder / "run", n_step=n) for folder, n in (("old", 1), ("new", 3))]
    table = tables.differing_settings([found_runs.read(path) for path in made])
    assert table["rows"] == [[str(made[0]), "1"], [str(made[1]), "3"]]


def test_labels_that_plots_cut_are_listed(tmp_path):
    changes = {"n_step": 2, "learning_rate": 0.000123456, "huber_delta": 1.23456, "seed": 7}
    changes |= {"target_period_updates": 12, "batch_size": 64, "max_grad_norm": 1.23456}
    changes |= {"discount": 0.987654321, "reward_scale": 0.123456789, "loss_scale": 0.987654321}
    made = [make_run(tmp_path / "plain"), make_run(tmp_path / "other", **changes)]
    found = [found_runs.read(path) for path in made]
    html = page.build(found)
    labels = sorted(found_runs.labels(found))
    assert len(labels[0]) > 144 and "The groups are listed by their numbers below the plots" in html
    for number, label in enumerate(labels, start=1):
        assert [f"{number}: {label}", "1"] in cells(html)
        assert len(re.findall(rf">{number}: batch_size=[^<]*…</text>", html)) == 6
    html = page.build(found[:1])
    assert "listed by their numbers" not in html


def test_scores_of_all_scales_have_enough_digits():
    written = {0.962: "0.962", 5.934: "5.93", -20.97: "-21.0", 59.31: "59.3", 99.96: "100.0"}
    written |= {0.0: "0.0", -0.0123: "-0.0123", 432.14: "432.1", 42_054.7: "42,054.7"}
    written |= {1e15: "1e+15", 5e-324: "4.94e-324"}
    for value, text in written.items():
        assert tables.number_text(value) == text
    assert tables.number_text(None) == "" and tables.number_text(0.5, "{:.0%}") == "50%"


def test_counts_have_their_plural(tmp_path):
    one = [found_runs.read(make_run(tmp_path / "a"))]
    assert "1 run: 1 complete" in page.build(one)
    assert wording.counted(0, "run") == "0 runs" and wording.counted(1200, "run") == "1,200 runs"
    assert page.write([one[0].path], tmp_path / "a.html", None).endswith(": 1 run")


def test_games_that_are_no_file_names(tmp_path):
    """A run from elsewhere may say anything."""
    path = make_run(tmp_path / "run")
    text = (path / "config.json").read_text()
    (path / "config.json").write_text(text.replace("Breakout-v5", "../" + "x" * 300 + "\\u0000<b>"))
    page.write([path], tmp_path / "report.html", tmp_path / "report")
    pictures = [path.name for path in (tmp_path / "report").iterdir()]
    assert len(pictures) == 6 and all(re.fullmatch(r"[\w.]+\.png", name) for name in pictures)
    assert "<b>" not in re.sub(r"</?figcaption><b>", "", (tmp_path / "report.html").read_text())


_REPORT = """
import runpy, sys
sys.argv = ["report", "--runs=G*", "--out=report.html"]
runpy.run_module("jaxdqn.report", run_name="__main__")
"""


def test_report_as_a_program(tmp_path):
    make_run(tmp_path / "runs" / "a")
    result = program.run("report", "--runs=runs/*", "--out=report.html", "--png", cwd=tmp_path)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert result.stdout == "report.html: 1 run\n"
    assert (tmp_path / "report" / "Breakout_loss.png").exists()
    before = (tmp_path / "report.html").read_bytes()
    for words, message in (
        ("--runs=runs/* --out=report.html", "report.html exists"),
        ("--runs=nothing/* --out=other.html", "--runs: no folder matches nothing/*"),
        ("--runs=runs/*", "--out: name the page"),
        ("--out=report.pdf", "must end in .html"),
    ):
        result = program.run("report", *words.split(), cwd=tmp_path)
        assert result.returncode == 2 and message in result.stderr, words
        assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "report.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "report.html", "runs"]
