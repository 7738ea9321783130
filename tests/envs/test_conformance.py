"""One contract for all sources of environments, and Atari games that are the same in several."""

import importlib.util
import itertools
import types

import numpy as np
import psutil
import pytest

from benchmarks import same_play
from jaxdqn.envs import api, episodes, registry
from jaxdqn.training import env_groups
from tests.toys import toy_env

NEEDS_ALE = pytest.mark.skipif(
    importlib.util.find_spec("ale_py") is None, reason="ale-py is optional"
)
NEEDS_BOTH = pytest.mark.skipif(
    None in map(importlib.util.find_spec, ("ale_py", "cv2")),
    reason="ale-py, OpenCV are optional",
)
SMALL = {"img_height": 20, "img_width": 16}
LIMIT, STEPS, NUM_ENVS, SEED = 12, 40, 3, 5
CASES = [
    ("Breakout", SMALL),
    ("CartPole", {}),
    pytest.param(("ale:Breakout", SMALL), marks=NEEDS_ALE),
    ("gymnasium:CartPole-v1", {}),
    pytest.param(("benchmarks.gymnasium_atari:Preprocessed/Breakout-v0", SMALL), marks=NEEDS_BOTH),
    (toy_env.ENV_ID, {}),
]
GAMES = ("Breakout", "Pong", "SpaceInvaders", "Seaquest", "Qbert")


def of(steps, name):
    """One field of all time steps, [T, E, ...]."""
    return np.stack([getattr(step, name) for step in steps])


@pytest.fixture(scope="module", params=CASES, ids=lambda case: str(case[0]))
def played(request):
    """A group of environments that has played at random, with everything that was seen of it."""
    toy_env.register()
    name, options = request.param
    env_id, options = registry.resolve(name), {**options, "max_episode_steps": LIMIT}

    def make(threads=1, with_screen=False):
        def started(step, envs):
            seed = SEED + step + envs.start
            return registry.make(env_id, len(envs), seed, options, threads, with_screen)

        return started

    group = env_groups.Group(make(with_screen=True), NUM_ENVS)
    random, steps, sent, pictures = np.random.default_rng(0), [], [], []
    for _ in range(STEPS):
        step, _ = group.receive()
        steps.append(step)
        pictures.append(np.array(group._env.screen()))
        sent.append(random.integers(0, group._env.spec.num_actions, NUM_ENVS))
        group.send(sent[-1], ended=0)
    last = group.sent()
    yield types.SimpleNamespace(
        env_id=env_id,
        options=options,
        spec=group._env.spec,
        make=make,
        group=group,
        steps=steps,
        actions=sent,
        sent=last,
        pictures=pictures,
    )
    group.close()
    registry.unregister(toy_env.SOURCE)


def test_frames_are_what_the_description_says(played):
    assert played.spec == registry.describe(played.env_id, played.options)
    assert played.spec.num_actions == len(played.spec.actions) >= 2
    for step in played.steps:
        assert step.frame.shape == (NUM_ENVS, *played.spec.frame_shape)
        assert step.frame.dtype == played.spec.frame_dtype
        assert step.reward.dtype == np.float32 and step.reward.shape == (NUM_ENVS,)
        for name in ("terminated", "truncated", "is_first", "life_lost"):
            flag = getattr(step, name)
            assert flag.dtype == np.bool_ and flag.shape == (NUM_ENVS,), name


def test_a_game_opens_at_the_start_and_after_each_end(played):
    ended = of(played.steps, "terminated") | of(played.steps, "truncated")
    is_first = of(played.steps, "is_first")
    assert is_first[0].all() and ended.any()
    np.testing.assert_array_equal(is_first[1:], ended[:-1])
    assert not (is_first & ended).any()
    assert not (is_first & of(played.steps, "life_lost")).any()
    assert not of(played.steps, "reward")[is_first].any()
    if not played.spec.has_lives:
        assert not of(played.steps, "life_lost").any()


def test_a_time_limit_truncates_and_nothing_else_does(played):
    lengths, seen = np.zeros(NUM_ENVS, int), 0
    for step in played.steps:
        lengths = np.where(step.is_first, 0, lengths + 1)
        np.testing.assert_array_equal(step.truncated, lengths == LIMIT)
        assert (lengths <= LIMIT).all()
        seen += np.count_nonzero(step.truncated)
    assert seen


def test_returns_of_whole_games_are_the_sums_of_their_rewards(played):
    tracker = episodes.EpisodeTracker(NUM_ENVS)
    told = [game for step in played.steps for game in tracker.add(step)]
    counted = []
    for env in range(NUM_ENVS):
        rewards = []
        for step in played.steps:
            rewards = [] if step.is_first[env] else [*rewards, float(step.reward[env])]
            if step.terminated[env] or step.truncated[env]:
                counted.append((env, sum(rewards), len(rewards)))
    assert sorted((game.env, game.game_return, game.length) for game in told) == sorted(counted)


def test_games_depend_on_their_seed_and_their_actions_alone(played):
    """One environment without neighbours; its actions differ where they are to be ignored."""
    alone = registry.make(played.env_id, 1, SEED + 1, played.options)
    for step, actions in zip(played.steps, played.actions, strict=True):
        for one, several in zip(alone.receive(), step, strict=True):
            np.testing.assert_array_equal(one, several[1:2])
        ended = step.terminated[1:2] | step.truncated[1:2]
        others = (actions[1:2] + 1) % played.spec.num_actions
        alone.send(np.where(ended, others, actions[1:2]))
    alone.close()
    frames = of(played.steps, "frame")
    for one, other in itertools.combinations(range(NUM_ENVS), 2):
        assert not np.array_equal(frames[:, one], frames[:, other])


def test_the_others_play_on_where_some_rest(played):
    """Each rests in its turn, for the rest of the game."""
    env = registry.make(played.env_id, NUM_ENVS, SEED, played.options)
    resting = np.zeros(NUM_ENVS, bool)
    for moment, (step, actions) in enumerate(zip(played.steps, played.actions, strict=True)):
        shown = env.receive()
        for one, all_of_them in zip(shown, step, strict=True):
            assert one.shape == all_of_them.shape and one.dtype == all_of_them.dtype
            np.testing.assert_array_equal(one[~resting], all_of_them[~resting])
        if moment in (5, 20):
            resting[moment // 10] = True
            env.rest(resting)
        env.send(actions)
    env.close()


def test_a_group_comes_back_to_where_it_stood_and_is_closed(played):
    before = set(psutil.Process().children())
    again = env_groups.Group(played.make(threads=2), NUM_ENVS)
    list(again.replay(played.sent))
    assert again.has_come_back(played.sent)
    for one, other in zip(again.receive()[0], played.group.receive()[0], strict=True):
        np.testing.assert_array_equal(one, other)
    nothing = np.zeros(NUM_ENVS, np.int32)
    again.send(nothing, 0)
    again.close()  # while a step is pending
    assert set(psutil.Process().children()) == before
    played.group.send(nothing, 0)


def test_people_see_pictures(played):
    for picture in played.pictures:
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3


def test_options_that_it_does_not_have_are_refused_by_name(played):
    with pytest.raises(api.OptionError) as caught:
        registry.describe(played.env_id, {"no_such_option": 1})
    assert caught.value.option == "no_such_option" and "\n" not in str(caught.value)


@NEEDS_BOTH
@pytest.mark.parametrize("game", GAMES)
def test_the_same_games_are_played_alike(game):
    """Rewards, ends, lives and every pixel, from the same start, over the ends of games."""
    envpool, ale, gymnasium = same_play.SIDES

    def assert_alike(side, size, lives):
        limited = {"max_episode_steps": 45, "img_height": size[0], "img_width": size[1]}
        sides = (one.make_fixed(game, 2, SEED, **limited) for one in (envpool, side))
        found = same_play.compare(*sides, 60, 0)
        assert found == same_play.Differences(120, 2, 0, 0, lives, 0, 0.0, 0)

    assert_alike(ale, (84, 84), lives=0)
    assert_alike(gymnasium, (84, 84), lives=None)  # which it does not report
    # This package resizes images in another way: whole screens are the same.
    assert_alike(same_play.SCREENS, (210, 160), lives=None)


@NEEDS_ALE
@pytest.mark.parametrize(
    "options",
    [
        # Once a game is over, its environment reaches the time limit later than the others.
        {"max_episode_steps": 150},
        # Without a limit: at one, ALE plays a step more, which draws random numbers.
        {"repeat_action_probability": 0.25},
    ],
)
def test_they_are_played_alike_over_their_ends(options):
    envpool, ale, _ = same_play.SIDES
    sides = (side.make_fixed("Breakout", 3, SEED, **SMALL, **options) for side in (envpool, ale))
    found = same_play.compare(*sides, 320, 0)
    assert found == same_play.Differences(960, found.games, 0, 0, 0, 0, 0.0, 0)
    assert found.games >= 3
