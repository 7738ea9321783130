import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.envs import registry
from jaxdqn.training import env_groups
from tests.toys import toy_env


def make(step, envs):
    seed, options = 100 + step + envs.start, {"max_episode_steps": 40}
    return registry.make("Breakout-v5", len(envs), seed, options)


def play(group, turns, seed):
    rng, shown = np.random.default_rng(seed), []
    for _ in range(turns):
        shown.append(group.receive())
        group.send(rng.integers(0, 4, 3), ended=0)
    return shown


def test_a_group_comes_back_to_where_it_stood():
    first = env_groups.Group(make, 3, step=7)
    play(first, 60, seed=0)
    sent = first.sent()
    assert sent.actions.shape == (60, 3) and sent.actions.dtype == np.uint8
    second = env_groups.Group(make, 3, step=7)
    assert len(list(second.replay(sent))) == 60
    assert second.has_come_back(sent)
    for (one, one_ended), (two, two_ended) in zip(
        play(first, 60, seed=1), play(second, 60, seed=1), strict=True
    ):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
        assert one_ended == two_ended  # their returns began before
    first.close()
    second.close()


@pytest.mark.parametrize("same", [True, False])
def test_other_emulators_are_noticed(same):
    first, second = (
        env_groups.Group(how, 3)
        for how in (make, make if same else lambda step, envs: make(5, envs))
    )
    play(first, 60, seed=0)
    list(second.replay(first.sent()))
    assert second.has_come_back(first.sent()) == same
    first.close()
    second.close()


def test_a_start_that_fails_leaves_what_starts_new_games():
    made, closed = [], []

    def make_once(step, envs):
        if made:
            raise errors.EnvFailedError("too many processes")
        made.append(toy_env.CorridorEnv(toy_env.ENV_ID, 2, 0, {}))
        made[0].close = lambda: closed.append(True)
        return made[0]

    group = env_groups.Group(make_once, 2)
    group.receive()
    group.send(np.zeros(2, np.int32), ended=0)
    group.abandon(40)
    with pytest.raises(errors.EnvFailedError):
        group.start()
    sent = group.sent()
    assert (sent.made_at_step, sent.actions.size, sent.opening) == (40, 0, 2)
    group.close()
    assert closed == [True]  # some emulators cannot be closed again


def test_equal_frames_alone_do_not_prove_equal_games():
    """Where nobody says that games come back, rewards and earlier steps must agree too."""
    toy = toy_env.CorridorEnv
    spec = toy_env.describe(toy_env.ENV_ID, {})._replace(plays_again=None)

    class Corridor(toy):
        def receive(self):
            return super().receive()._replace(reward=self.rewards)

    def group(*rewards):
        env = Corridor(toy_env.ENV_ID, 2, 0, {})
        env.spec = spec
        made = env_groups.Group(lambda step, envs: env, 2)
        for reward in rewards:
            env.rewards = np.full(2, reward, np.float32)
            made.receive()
            made.send(np.zeros(2, np.int32), ended=0)
        return made

    sent = group(0, 1, 0).sent()
    assert group(0, 1, 0).has_come_back(sent)
    other = group(0, 2, 0)
    assert other.fingerprint() == sent.fingerprint and not other.has_come_back(sent)
    assert other.has_come_back(sent._replace(history=None))  # of an older checkpoint


def test_environments_made_anew_begin_other_games():
    group = env_groups.Group(make, 3)
    play(group, 10, seed=0)
    before = group.fingerprint()
    group.abandon(1000)
    group.start()
    assert group.made_at_step == 1000 and group.sent().actions.shape == (0, 3)
    ((step, ended),) = play(group, 1, seed=0)
    assert np.all(step.is_first) and not ended and group.fingerprint() != before
    group.close()
