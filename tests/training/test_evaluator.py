"""Evaluations and films of a run, in the corridor."""

import json

import jax
import pytest

from jaxdqn import errors
from jaxdqn.assembly import env_spec, parts
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.distributed import processes, signals
from jaxdqn.envs import api, registry, watchdog
from jaxdqn.rundir import known_curves, metrics
from jaxdqn.settings import presets
from jaxdqn.training import environments, evaluator, setup
from tests.toys import toy_env

CHANGES = {"hidden_sizes": (8,), "eval_episodes": 6, "eval_epsilon": 1.0}


@pytest.fixture
def made(tmp_path):
    """Evaluator of a run with random parameters; what it says; its signals; its folder."""
    toy_env.register()
    config = presets.resolve("Corridor", "", CHANGES)
    spec, mesh = env_spec.describe(config), mesh_lib.make_mesh(1)
    request, said = signals.StopRequest(), []
    dog = watchdog.Watchdog(100, lambda: False, lambda *_: None)
    writer = metrics.Writer(tmp_path, 0)
    parameters = parts.make_network(config, spec).init(
        jax.random.key(0), jax.numpy.zeros((1, *parts.observation_like(config, spec).shape[1:]))
    )
    yield (
        evaluator.Evaluator(
            setup.Setup(config, spec, mesh, tmp_path, False, 0, 0, 0),
            environments.RunEnvs(config, dog),
            processes.Stop(request),
            writer,
            said.append,
        ),
        mesh_lib.put(mesh, parameters, mesh_lib.REPLICATED),
        said,
        request,
    )
    writer.close()
    dog.close()
    registry.unregister(toy_env.SOURCE)


def rows(path):
    return list(metrics.read(path / metrics.FILE))


def test_an_evaluation_is_a_row_and_a_line(made, tmp_path):
    scorer, params, said, _ = made
    assert scorer.evaluate(params, 40)
    (row,) = rows(tmp_path)
    assert (row["step"], row["eval_episodes"]) == (40, 6) and 0 <= row["eval_return_mean"] <= 1
    (line,) = said
    assert line.startswith("step 40: evaluation: return ") and line.endswith("6 games)")
    assert "expected" not in line  # nothing is known of this game
    assert scorer.evaluate(params, 40)  # the same games again
    assert said[1] == line


def test_a_signal_cuts_an_evaluation_short(made, tmp_path):
    scorer, params, said, request = made
    request.signum = 15
    assert not scorer.evaluate(params, 40)
    assert not rows(tmp_path) and not said


def test_a_game_is_filmed_once(made, tmp_path):
    scorer, params, said, _ = made
    scorer.film(params, 40)
    film = tmp_path / "videos" / "40.mp4"
    assert film.stat().st_size > 0
    written = film.stat().st_mtime_ns
    scorer.film(params, 40)
    assert film.stat().st_mtime_ns == written and not said


def test_a_film_that_cannot_be_made_ends_no_run(made, tmp_path):
    scorer, params, said, request = made
    (tmp_path / "videos").touch()  # a file in its place
    scorer.film(params, 40)
    assert said[0].startswith("step 40: no film: ")
    (tmp_path / "videos").unlink()
    request.signum = 15
    scorer.film(params, 80)
    assert said[1] == "step 80: no film: interrupted by a signal to stop"
    assert not list((tmp_path / "videos").glob("*.mp4"))


@pytest.mark.parametrize("error", [api.UnsupportedEnvError, OSError])
def test_environments_that_cannot_be_started(made, tmp_path, error):
    """A film that lacks them ends no run; what else needs them ends one that can go on later."""

    def make(*_, **__):
        raise error("too many processes")

    registry.register(toy_env.SOURCE._replace(make=make))
    scorer, params, said, _ = made
    with pytest.raises(errors.EnvNotStartedError, match="cannot be started: too many processes"):
        scorer.evaluate(params, 40)
    assert not rows(tmp_path)
    scorer.film(params, 40)
    assert said[0].startswith("step 40: no film: ") and said[0].endswith("too many processes")
    dog = watchdog.Watchdog(100, lambda: False, lambda *_: None)
    envs = environments.RunEnvs(presets.resolve("Corridor", "", CHANGES), dog)
    with pytest.raises(errors.EnvNotStartedError, match="environments 0 to 1 cannot be started"):
        envs.training(0, 0, range(2))
    dog.close()
    toy_env.register()


def test_an_evaluation_stands_beside_what_earlier_runs_scored(tmp_path, monkeypatch, request):
    toy_env.register()
    earlier = {"step": 40, "eval_return_mean": 0.5, "eval_return_std": 0.3, "eval_episodes": 9}
    config = presets.resolve("Corridor", "", CHANGES | {"seed": 1})
    path = tmp_path / "known.jsonl"
    path.write_text(json.dumps(known_curves.entry(config, [earlier], "here")))
    registry.unregister(toy_env.SOURCE)
    monkeypatch.setattr(known_curves, "FILE", path)
    known_curves.stored.cache_clear()
    request.addfinalizer(known_curves.stored.cache_clear)
    scorer, params, said, _ = request.getfixturevalue("made")
    assert scorer.evaluate(params, 40)
    assert said[0].endswith("6 games); expected 0.30 to 0.70 (1 earlier run)")
