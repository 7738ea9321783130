"""A wait that takes too long is noticed, once; one that ends in time never is."""

import queue
import threading

import pytest

from jaxdqn.envs import watchdog


class Waiting:
    """Environments that answer when a test lets them."""

    spec, num_envs = "spec", 3

    def __init__(self):
        self.answers, self.sent, self.closed = queue.Queue(), [], False

    def send(self, actions):
        self.sent.append(actions)

    def receive(self):
        return self.answers.get(timeout=100)

    def rest(self, envs):
        self.resting = envs

    def screen(self):
        return "picture"

    def close(self):
        self.closed = True


@pytest.fixture
def found():
    return queue.Queue()


def watch(found, seconds, is_hurried=lambda: False):
    return watchdog.Watchdog(seconds, is_hurried, lambda name, limit: found.put((name, limit)))


def test_environments_that_do_not_answer_are_named(found):
    """The wait itself goes on: to end it is up to who was called."""
    dog, env = watch(found, seconds=0.2), Waiting()
    watched = dog.watched(env, "the third group")
    received = threading.Thread(target=lambda: found.put(watched.receive()), daemon=True)
    received.start()
    assert found.get(timeout=100) == ("the third group", 0.2)
    env.answers.put("late")
    assert found.get(timeout=100) == "late"
    received.join(timeout=100)
    dog.close()


@pytest.mark.parametrize("method", ["rest", "screen"])
def test_answers_between_steps_are_awaited_too(found, method):
    """Another process gives them, which may hang."""
    dog, env = watch(found, seconds=0.2), Waiting()
    setattr(env, method, lambda *_: env.receive())
    envs = ("some",) if method == "rest" else ()
    asked = threading.Thread(
        target=getattr(dog.watched(env, "mute ones"), method), args=envs, daemon=True
    )
    asked.start()
    assert found.get(timeout=100) == ("mute ones", 0.2)
    env.answers.put("late")
    asked.join(timeout=100)
    assert not asked.is_alive()
    dog.close()


def test_a_signal_to_leave_makes_it_impatient(found):
    dog, env = watch(found, seconds=1_000, is_hurried=lambda: True), Waiting()
    threading.Thread(target=dog.watched(env, "slow ones").receive, daemon=True).start()
    assert found.get(timeout=100) == ("slow ones", 5.0)
    env.answers.put("late")
    dog.close()


def test_a_wait_may_go_on_for_five_seconds_after_a_signal(found):
    """However long it was before, which is seven checks of a second here."""
    asked = []
    dog = watch(found, seconds=1_000, is_hurried=lambda: asked.append(1) or len(asked) > 7)
    env = Waiting()
    threading.Thread(target=dog.watched(env, "slow ones").receive, daemon=True).start()
    assert found.get(timeout=100) == ("slow ones", 5.0)
    assert len(asked) > 7 + 5
    env.answers.put("late")
    dog.close()


def test_answers_in_time_are_passed_on(found):
    dog, env = watch(found, seconds=100), Waiting()
    watched = dog.watched(env, "quick ones")
    assert (watched.spec, watched.num_envs) == ("spec", 3)
    for answer in ("first", "second"):
        env.answers.put(answer)
        watched.send(answer)
        assert watched.receive() == answer
    assert env.sent == ["first", "second"] and watched.screen() == "picture"
    watched.rest("some")
    assert env.resting == "some"
    watched.close()
    assert env.closed and found.empty()
    dog.close()


def test_an_error_ends_the_wait(found):
    dog, env = watch(found, seconds=0.2), Waiting()
    env.receive = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        dog.watched(env, "broken ones").receive()
    with pytest.raises(queue.Empty):  # nobody waits any more
        found.get(timeout=1)
    dog.close()
