"""Scores of frozen parameters under named protocols."""

import tracemalloc

import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.assembly import env_spec
from jaxdqn.envs import registry, scores
from jaxdqn.envs.envpool import games
from jaxdqn.playing import evaluation, scoring
from jaxdqn.playing import moments as moments_lib
from jaxdqn.rundir import trained_agent
from jaxdqn.settings import presets, protocols
from tests import saved


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    return trained_agent.load(saved.make_run(tmp_path_factory.mktemp("saved") / "run"), "latest")


def test_the_same_seed_gives_the_same_score(tmp_path):
    run = saved.make_run(tmp_path / "run", "CartPole", {"eval_epsilon": 0.5}, returns=(9.0,))
    agent = trained_agent.load(run, "latest")
    one, two, other = (scoring.score(agent, "run", 4, seed) for seed in (0, 0, 100))
    assert one == two
    assert one["returns"] != other["returns"]
    assert one["episodes"] == len(one["returns"]) == 4 and one["checkpoint"] == 10
    assert one["return"]["mean"] == np.mean(one["returns"])


def test_games_that_the_limit_ends_are_counted(agent):
    result = scoring.score(agent, "run", 6, seed=3)
    assert result["capped"] == sum(length == 60 for length in result["lengths"])
    assert result["capped"] > 0  # sixty steps are short of five lives
    assert result["env_options"]["max_episode_steps"] == 60


def test_games_without_a_limit_end(monkeypatch):
    monkeypatch.setattr(registry, "LONGEST_STEPS", 20)
    agent = saved.make_agent("tests.toys.gym_envs:Endless-v0", {"hidden_sizes": (8,)})
    result = scoring.score(agent, "greedy", 2, seed=0)
    assert result["lengths"] == [20, 20] and result["capped"] == 2
    assert result["env_options"] == {"max_episode_steps": 20}
    asked = {"seed": 0, "num_episodes": 1, "with_screen": False}
    *_, last = moments_lib.play(agent.config, agent.spec, agent.params, **asked)
    assert last.is_last and last.length == 20


def apply(name, config):
    return protocols.apply(name, config, env_spec.describe(config))


def test_protocols_set_what_they_are_named_for():
    config = presets.resolve("Pong", "", {"frame_skip": 3, "full_action_space": True})
    nature = apply("nature", config)
    assert nature.env_options["noop_max"] == 30 and nature.eval_epsilon == 0.05
    assert nature.max_episode_steps == 36_000  # of three frames each
    drawn = presets.resolve("Pong", "", {"frame_skip": 4, "frame_skip_min": 2})
    assert apply("nature", drawn).max_episode_steps == 36_000  # of three on average
    assert nature.repeat_action_probability == 0
    machado = apply("machado", config)
    assert machado.repeat_action_probability == 0.25 and machado.noop_max == 1
    assert machado.full_action_space and machado.max_episode_steps == 36_000
    assert apply("greedy", config).eval_epsilon == 0
    assert apply("random", config).eval_epsilon == 1
    assert apply("run", config) == config


def test_games_that_repeat_count_once():
    """Without no-ops and random actions, all games of Pong are the same one."""
    agent = saved.make_agent("Pong", {"noop_max": 1, "max_episode_steps": 50})
    told = scoring.score(agent, "greedy", 3, seed=0)
    assert told["distinct_games"] == 1 and told["repeats"]
    assert told["return"]["interval_95"] is None
    assert not scoring.score(agent, "random", 3, seed=0)["repeats"]


def test_steps_of_random_length_are_told_beside_the_protocol():
    agent = saved.make_agent("Pong", {"frame_skip_min": 2, "max_episode_steps": 9})
    told = scoring.score(agent, "greedy", 1, seed=0)["protocol_text"]
    assert told.endswith("; here a step lasts 2 to 4 frames")


def test_games_are_equal_by_chance_where_they_begin_differently():
    agent = saved.make_agent("Catch", {"hidden_sizes": (8,)})
    told = scoring.score(agent, "greedy", 8, seed=0)
    assert told["distinct_games"] <= 2  # all take nine steps, and return 1 or -1
    assert not told["repeats"] and len(told["return"]["interval_95"]) == 2


def test_a_protocol_for_other_games_is_refused():
    config = presets.resolve("CartPole", "classic", {})
    for name in ("nature", "machado"):
        with pytest.raises(errors.SettingError, match=f"--protocol: {name} is for Atari"):
            apply(name, config)
    with pytest.raises(errors.SettingError, match="one of nature, machado"):
        apply("natural", config)


@pytest.mark.parametrize(
    ("env", "preset", "expected"),
    [
        ("CartPole", "classic", "greedy"),
        ("Pong", "c51", "nature"),
        ("Pong", "c51_sticky", "machado"),
    ],
)
def test_a_run_is_scored_as_it_played_if_no_protocol_is_named(env, preset, expected):
    config = presets.resolve(env, preset, {})
    assert protocols.default_for(config, registry.game(config.env)) == expected


def test_human_normalised_scores():
    breakout, pong, cartpole = (
        registry.game(registry.resolve(name)) for name in ("Breakout", "Pong", "CartPole")
    )
    assert scores.human_normalised(breakout.reference, 1.7) == 0
    assert scores.human_normalised(breakout.reference, 30.5) == 1
    assert scores.human_normalised(pong.reference, -3.05) == pytest.approx(0.5)
    assert scores.human_normalised(cartpole.reference, 500) is None
    assert scores.published(pong)["Nature DQN, 200M frames"] == 18.9
    assert scores.published(cartpole) == {}
    assert len(scores.ATARI_57) == 57 and set(scores.ATARI_57) <= set(games.atari_names())
    assert all(reference.human > reference.random for reference in scores.ATARI_57.values())


def summary(returns):
    returns = np.asarray(returns)
    return scoring.summary(evaluation.Scores(returns, np.ones(len(returns)), returns > 9))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 1e308])
def test_a_summary_of_returns_that_are_not_finite(bad):
    told = summary([bad, 1e308, 1.0])
    assert told["interval_95"] is None and not np.isfinite(told["std"])
    assert np.isnan(bad) or told["max"] == max(bad, 1e308)


def test_a_summary():
    told = summary([1.0, 2.0, 3.0, 10.0])
    assert (told["mean"], told["median"], told["min"], told["max"]) == (4.0, 2.5, 1.0, 10.0)
    assert told["std"] == pytest.approx(np.sqrt(50 / 4))
    low, high = told["interval_95"]
    assert 1.0 <= low < 4.0 < high <= 10.0
    assert summary([5.0])["interval_95"] is None
    assert summary([5.0, 5.0])["interval_95"] == [5.0, 5.0]


def repeated(played):
    return scoring.summary(played, scoring.distinct(played))["interval_95"]


def test_the_interval_of_games_that_repeat():
    """Ten times five games tell no more than five games."""
    once = [1.0, 2.0, 3.0, 4.0, 10.0]
    played = evaluation.Scores(np.repeat(once, 10), np.ones(50, np.int64), np.zeros(50, bool))
    assert repeated(played) == summary(once)["interval_95"]
    assert repeated(evaluation.Scores(*(part[:40] for part in played))) is None


def test_the_interval_of_games_that_repeat_unequally_holds_their_mean():
    """One game of ten is played ninety times, ten games of about 400 once each."""
    returns = np.array([10.0] * 90 + list(range(400, 410)))
    low, high = repeated(evaluation.Scores(returns, np.ones(100, np.int64), np.zeros(100, bool)))
    assert low < returns.mean() < high


def test_the_interval_of_many_games_takes_little_memory():
    """Drawn at once, their resamples would take 1.6 GB."""
    tracemalloc.start()
    try:
        low, high = summary(np.arange(10_000.0))["interval_95"]
        assert tracemalloc.get_traced_memory()[1] < 500e6
    finally:
        tracemalloc.stop()
    reach = 1.96 * 10_000 / np.sqrt(12) / np.sqrt(10_000)
    np.testing.assert_allclose((low, high), (4999.5 - reach, 4999.5 + reach), rtol=1e-3)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        low, high = summary(rng.normal(7.0, 3.0, 50))["interval_95"]
        hits += low <= 7.0 <= high
    assert 87 <= hits <= 100
