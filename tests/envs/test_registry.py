"""A source of environments is one file and one registration: nothing else knows it by name."""

import subprocess
import sys

import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.assembly import env_spec
from jaxdqn.envs import api, episodes, registry
from jaxdqn.envs.envpool import games
from jaxdqn.exporting import export, model_card
from jaxdqn.playing import recording, scoring
from jaxdqn.rundir import layout
from jaxdqn.settings import presets, protocols
from jaxdqn.training import env_groups, setup
from tests import saved
from tests.toys import toy_env


@pytest.fixture(autouse=True)
def toy():
    toy_env.register()
    yield
    registry.unregister(toy_env.SOURCE)


def make(num_envs, seed=0, **options):
    return registry.make(toy_env.ENV_ID, num_envs, seed, options)


def test_names_of_all_sources_are_resolved_and_described():
    assert registry.resolve("Corridor") == registry.resolve(toy_env.ENV_ID) == toy_env.ENV_ID
    assert registry.resolve("Breakout") == "Breakout-v5"
    config = presets.resolve("Corridor", "", {})
    assert (config.env, config.preset) == (toy_env.ENV_ID, "classic")
    spec = env_spec.describe(config)
    assert spec.frame_shape == (6,) and spec.game.plain_name == "Corridor"
    assert str(layout.default_path(config)) == "runs/Corridor-classic-seed0"
    setup.check_films(presets.resolve("Corridor", "", {"record_every_steps": 100}))


def test_a_game_names_its_preset_or_that_of_its_family_is_taken():
    assert presets.resolve("MountainCar", "", {}).preset == "mountaincar"
    assert presets.resolve("LunarLander", "", {}).preset == "lunarlander"
    for game, preset in (
        (api.GameInfo("Some"), "classic"),
        (api.GameInfo("Some", family=api.ATARI), "laptop"),
        (api.GameInfo("Some", family=api.ATARI, preset="atari_fast"), "atari_fast"),
    ):
        assert presets.default_for(game) == preset
    assert {registry.game(env_id).preset for env_id in games.all_ids()} <= {"", *presets.PRESETS}


@pytest.mark.parametrize(
    ("wrong", "near"), [("Coridor", "Corridor"), ("toy/corridor", "Corridor"), ("Pongg", "Pong")]
)
def test_an_unknown_name_gives_the_nearest_of_all_sources(wrong, near):
    with pytest.raises(errors.SettingError) as caught:
        presets.resolve(wrong, "", {})
    told = f"--env: EnvPool, ALE, Gymnasium and Toy have no environment '{wrong}'; nearest: "
    assert str(caught.value).startswith(told) and near in str(caught.value)[len(told) :].split(", ")


@pytest.mark.parametrize("prefix", ["", "ale:"])
def test_gymnasiums_name_of_an_atari_game_leads_to_it(prefix):
    with pytest.raises(errors.SettingError) as caught:
        presets.resolve(f"{prefix}ALE/Pong-v5", "", {})
    told = "is Gymnasium's name of an Atari game; use --env=Pong, or --env=ale:Pong for ALE itself"
    assert str(caught.value) == f"--env: '{prefix}ALE/Pong-v5' {told}"


@pytest.mark.parametrize("name", ["ALE/Pongg-v5", "ALE/CartPole-v1"])
def test_gymnasiums_name_of_a_game_that_nobody_has_leads_nowhere(name):
    with pytest.raises(errors.SettingError, match=f"have no environment '{name}'; nearest: "):
        presets.resolve(name, "", {})


def test_an_id_that_no_source_has_any_more():
    """Of a run that another version left: it has a name, and that it cannot be played is a line."""
    assert registry.game("gone/Away-v3") == api.GameInfo("gone_Away-v3")
    with pytest.raises(
        api.UnsupportedEnvError, match="EnvPool, ALE, Gymnasium and Toy have no gone/Away-v3"
    ):
        registry.describe("gone/Away-v3", {})
    registry.unregister(toy_env.SOURCE)
    with pytest.raises(
        api.UnsupportedEnvError, match="EnvPool, ALE and Gymnasium have no toy/Corridor-v0"
    ):
        registry.make(toy_env.ENV_ID, 1, 0, {})
    toy_env.register()


def test_a_source_of_the_same_name_takes_the_place_of_the_earlier():
    other = toy_env.SOURCE._replace(resolve={"Other": "toy/Other-v0"}.get)
    registry.register(other)
    assert registry.resolve("Other") == "toy/Other-v0"
    with pytest.raises(api.UnknownGameError):
        registry.resolve("Corridor")
    toy_env.register()
    assert registry.resolve("Corridor") == toy_env.ENV_ID


def test_a_source_that_cannot_be_used_is_not_in_the_way_of_others():
    def resolve(name):
        raise api.UnknownGameError("Broken cannot be imported")

    broken = toy_env.SOURCE._replace(name="Broken", resolve=resolve)
    registry.unregister(toy_env.SOURCE)
    registry.register(broken)
    toy_env.register()  # after the broken one
    assert registry.describe(registry.resolve("Corridor"), {}).env_id == toy_env.ENV_ID
    for ask in (registry.resolve, registry.game):
        with pytest.raises(api.UnknownGameError, match="Broken cannot be imported"):
            ask("Nothing")
    registry.unregister(broken)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_skip": 4}, "--frame_skip: toy/Corridor-v0 has no such option; set by its flag or"),
        ({"max_episode_steps": 5_000}, "--max_episode_steps: is 5000; toy/Corridor-v0 takes at"),
        ({"network": "nature"}, "--network: nature needs images .* toy/Corridor-v0 shows 6 float"),
        ({"life_loss_ends": True}, "--life_loss_ends: has no effect: toy/Corridor-v0 has no lives"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_a_line(changes, message):
    config = presets.resolve("Corridor", "", changes)
    with pytest.raises(errors.SettingError, match=message) as caught:
        setup.check_effects(config, env_spec.describe(config))
    assert "\n" not in str(caught.value)


def test_games_are_played_to_their_ends():
    """Always to the right: a game from cell c lasts 5 - c steps; always to the left: the limit."""
    env, tracker = make(3, max_episode_steps=7), episodes.EpisodeTracker(3)
    ended, start = [], np.zeros(3, int)  # the cell where each walker's game began
    for _ in range(40):
        step = env.receive()
        start = np.where(step.is_first, step.frame.argmax(axis=1), start)
        for game in tracker.add(step):
            cells = game.length + (start[game.env] if game.env < 2 else 0)
            ended.append((cells, game.game_return, game.capped))
        env.send(np.array([toy_env.RIGHT, toy_env.RIGHT, toy_env.LEFT]))
    env.close()
    assert set(ended) == {(5, 1.0, False), (7, 0.0, True)} and len(ended) > 15


def test_environments_do_not_depend_on_their_neighbours():
    together, alone = make(3, seed=5), make(1, seed=6)
    rng = np.random.default_rng(0)
    for _ in range(100):
        for a, b in zip(together.receive(), alone.receive(), strict=True):
            np.testing.assert_array_equal(a[1:2], b)
        actions = rng.integers(0, 2, 3)
        together.send(actions)
        alone.send(actions[1:2])


def test_a_group_comes_back_to_where_it_stood():
    rng = np.random.default_rng(0)
    first = env_groups.Group(lambda step, envs: make(len(envs), step + envs.start), 4, step=9)
    for _ in range(50):
        first.receive()
        first.send(rng.integers(0, 2, 4), ended=0)
    second = env_groups.Group(lambda step, envs: make(len(envs), step + envs.start), 4, step=9)
    list(second.replay(first.sent()))
    assert second.has_come_back(first.sent())
    for a, b in zip(first.receive()[0], second.receive()[0], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def agent():
    toy_env.register()
    return saved.make_agent("Corridor", {})


def test_an_agent_is_scored_by_the_protocol_of_its_game(agent):
    assert protocols.default_for(agent.config, agent.spec.game) == "greedy"
    told = scoring.score(agent, "random", 5, seed=0)
    assert told["env"] == toy_env.ENV_ID and len(told["returns"]) == 5
    assert set(told["returns"]) <= {0.0, 1.0} and max(told["lengths"]) <= 20
    assert told["human_score"] is told["human_normalised"] is None
    with pytest.raises(
        errors.SettingError, match="nature is for Atari games only, not toy/Corridor-v0"
    ):
        scoring.score(agent, "nature", 5, seed=0)


def test_an_agent_is_filmed_at_the_speed_of_its_game(agent, tmp_path):
    out = {"out": tmp_path / "play.gif", "sheet": None, "with_overlay": True}
    assert "at 4 frames per second" in recording.record(agent, **out, seed=0, num_episodes=1)


def test_an_export_names_the_source_and_its_options(agent):
    limited = agent._replace(config=presets.resolve("Corridor", "", {"max_episode_steps": 9}))
    check = export.Check(256, 256, 0.0, 1e-5, 1.0)
    told = export.describe(limited, "onnx", "policy.onnx", check)
    assert told["env"] == {
        "source": "Toy",
        "id": toy_env.ENV_ID,
        "game": "Corridor",
        "toy_options": {"max_episode_steps": 9},
        "frames_per_step": [1, 1],
    }
    assert told["actions"] == ["LEFT", "RIGHT"]
    card = model_card.write(told)
    assert "on Toy's `toy/Corridor-v0`" in card and "EnvPool" not in card.split("Exported with")[0]
    assert 'Toy options: `{"max_episode_steps": 9}`.' in card


def test_no_source_is_imported_before_it_is_asked():
    """`--help` and wrong settings do without it, which takes over a second."""
    code = "import sys; from jaxdqn.envs import registry; from jaxdqn.settings import presets; "
    code += "sys.exit('envpool' in sys.modules or 'jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0
