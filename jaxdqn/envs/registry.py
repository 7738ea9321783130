"""The one way to name, describe and make environments, wherever they come from.

A source of environments is an `api.Source`: one package here, and one entry of `_SOURCES`.
From elsewhere it is registered with `register`. Sources are asked in order.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from jaxdqn.envs import api
from jaxdqn.envs.ale import source as ale_source
from jaxdqn.envs.envpool import source as envpool_source
from jaxdqn.envs.gymnasium import source as gymnasium_source

LONGEST_STEPS = api.ATARI_MAX_STEPS  # of a game that nothing else limits

# Gymnasium comes last: every name with a colon may be one of its own.
_SOURCES = [envpool_source.SOURCE, ale_source.SOURCE, gymnasium_source.SOURCE]


# What Gymnasium calls an Atari game, where the package ale-py has told it of them.
_ATARI_OF_GYMNASIUM = re.compile(r"(?:[\w.]+:)?ALE/(\w+)-v\d+")


def register(source: api.Source) -> None:
    """Adds a source, which is asked after the others; one of the same name gives way to it."""
    _SOURCES[:] = [other for other in _SOURCES if other.name != source.name] + [source]


def unregister(source: api.Source) -> None:
    """Takes a source out again."""
    _SOURCES.remove(source)


def resolve(name: str) -> str:
    """Returns the id that a plain name or a full id stands for, which a user typed.

    A name may ask for code: `my_package.my_module:MyEnv-v0` imports that module.

    Raises:
      UnknownGameError: nothing has that name; the message lists the nearest ones.
    """
    try:
        return _resolve(name)
    except api.UnknownGameError:
        atari = _ATARI_OF_GYMNASIUM.fullmatch(name)
        if atari is None or game(f"{atari[1]}-v5").family != api.ATARI:
            raise
        raise api.UnknownGameError(
            f"{name!r} is Gymnasium's name of an Atari game; use --env={atari[1]}, or "
            f"--env=ale:{atari[1]} for ALE itself"
        ) from None


def _resolve(name: str) -> str:
    found = _source_of(name)
    if found:
        found.load(name)
    env_id = found.resolve(name) if found else None
    if env_id is None:
        raise api.UnknownGameError(f"{_nobody_has()} environment {name!r}; nearest: {_near(name)}")
    return env_id


def plain_names() -> list[str]:
    """What a user most likely means, of all sources that can be used here.

    Raises:
      UnknownGameError: one of them cannot.
    """
    return [name for source in _SOURCES for name in source.plain_names()]


def game(env_id: str) -> api.GameInfo:
    """What is known of a game before it is made; its name alone where no source has it.

    Raises:
      UnknownGameError: a source that may have it cannot be used here.
    """
    source = _source_of(env_id)
    return source.game(env_id) if source else by_id_alone(env_id)


def by_id_alone(env_id: str) -> api.GameInfo:
    """A game of which nothing but its id is known."""
    return api.GameInfo(env_id.replace("/", "_"))


def describe(env_id: str, options: Mapping[str, Any]) -> api.EnvSpec:
    """The shapes of an environment, without starting it.

    Args:
      env_id: as `resolve` returns it.
      options: what it should not take its default for, such as `max_episode_steps`.

    Raises:
      OptionError: an option that this environment does not have, or a value that it does not take.
      UnsupportedEnvError: it cannot be made, or a Q-network cannot play it.
      UnknownGameError: a source that may have it cannot be used here.
    """
    return _maker_of(env_id).describe(env_id, options)


def make(
    env_id: str,
    num_envs: int,
    seed: int,
    options: Mapping[str, Any],
    num_threads: int = 0,
    with_screen: bool = False,
) -> api.DrawnEnv:
    """Starts environments. Equal seeds and equal actions make equal games, whatever the threads.

    Args:
      env_id: as `resolve` returns it.
      num_envs: E.
      seed: environment i plays with `seed + i`, whatever its neighbors; below 2**31 - E.
      options: what it should not take its default for, such as `max_episode_steps`.
      num_threads: emulator threads; 0 lets the source choose.
      with_screen: whether `screen` will be asked.

    Raises:
      OptionError, UnsupportedEnvError, UnknownGameError: see `describe`.
    """
    maker = _maker_of(env_id)
    return maker.make(env_id, num_envs, seed, options, num_threads, with_screen)


def limited(env_id: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The same options, with which every game ends; for whoever waits for whole games.

    A policy that walks in a circle would keep a game without a limit going for ever.

    Args:
      env_id: as `resolve` returns it.
      options: for `make`; a time limit among them is kept.

    Raises:
      OptionError, UnsupportedEnvError, UnknownGameError: see `describe`.
    """
    limit = {"max_episode_steps": LONGEST_STEPS} if describe(env_id, options).is_endless else {}
    return limit | dict(options)


def export_options(env_id: str, options: Mapping[str, Any], frame_stack: int) -> dict[str, Any]:
    """The arguments of the source's own library for observations as a network takes them.

    Args:
      env_id: as `resolve` returns it.
      options: with which the network was trained.
      frame_stack: newest frames that it sees.

    Raises:
      UnsupportedEnvError, UnknownGameError: see `describe`.
    """
    return _maker_of(env_id).export_options(env_id, options, frame_stack)


def _source_of(name: str) -> api.Source | None:
    """The first source that has an environment of this name.

    Raises:
      UnknownGameError: none has, and one of them cannot be used here.
    """
    problem = None
    for source in _SOURCES:
        try:
            if source.resolve(name) is not None:
                return source
        except api.UnknownGameError as error:
            problem = problem or error
    if problem:
        raise problem
    return None


def _maker_of(env_id: str) -> api.Source:
    source = _source_of(env_id)
    if source is None:
        raise api.UnsupportedEnvError(f"{_nobody_has()} {env_id}")
    return source


def _nobody_has() -> str:
    """'EnvPool has no', or 'EnvPool and Other have no'."""
    *others, last = [source.name for source in _SOURCES]
    return f"{', '.join(others)} and {last} have no" if others else f"{last} has no"


def _near(name: str) -> str:
    """The known names nearest to a wrong one, for a message."""
    plain = {known.lower(): known for known in plain_names()}
    every = {known.lower(): known for source in _SOURCES for known in source.ids()} | plain
    # Plain names first: the user most likely meant one of them.
    near = difflib.get_close_matches(name.lower(), plain, n=3, cutoff=0.6)
    near = near or difflib.get_close_matches(name.lower(), every, n=3, cutoff=0.6)
    return ", ".join(every[match] for match in near) or "Breakout, Pong, CartPole"
