"""The games of ALE, `ale:Breakout`, and what is known of them."""

import difflib
from collections.abc import Mapping

from jaxdqn.envs import api, scores
from jaxdqn.envs.ale import library

SOURCE = "ALE"  # its name
_PREFIX = "ale:"
# Two people play them; they have no mode for one.
_FOR_TWO = ("combat", "joust", "maze_craze", "warlords")


def resolve(name: str) -> str | None:
    """The name, if it has the form of one; whether there is such a game is for `load` to say."""
    return name if name.startswith(_PREFIX) else None


def load(name: str) -> None:
    """Checks that a name is that of a game that can be played here.

    Raises:
      UnknownGameError: ale-py is missing, or has no such game.
    """
    try:
        rom(name)
    except api.UnsupportedEnvError as error:
        raise api.UnknownGameError(str(error)) from None


def rom(env_id: str) -> str:
    """What ALE calls a game: 'space_invaders' for 'ale:SpaceInvaders'.

    Raises:
      UnsupportedEnvError: ale-py is missing, or has no such game; the message lists the nearest.
    """
    try:
        roms = _roms()
    except api.UnsupportedEnvError as error:
        raise api.UnsupportedEnvError(f"{env_id} {error}") from None
    if env_id not in roms:
        raise api.UnsupportedEnvError(f"ALE has no game {env_id!r}; nearest: {_near(env_id, roms)}")
    return roms[env_id]


def all_ids() -> list[str]:
    """The names of all games; none if ale-py is missing."""
    return list(_roms()) if library.is_installed() else []


def info(env_id: str) -> api.GameInfo:
    """What is known of a game before it is made."""
    name = env_id.removeprefix(_PREFIX)
    return api.GameInfo(
        # Another name than that of other sources: runs of both must not share a folder.
        plain_name=f"ale_{name}",
        source=SOURCE,
        family=api.ATARI,
        reference=scores.ATARI_57.get(name),
    )


def _roms() -> Mapping[str, str]:
    """Names of games -> what ALE calls them."""
    every = library.module().roms.get_all_rom_ids()
    return {_name(rom): rom for rom in sorted(every) if rom not in _FOR_TWO}


def _name(rom: str) -> str:
    """'tic_tac_toe_3d' -> 'ale:TicTacToe3d'."""
    return _PREFIX + "".join(word.capitalize() for word in rom.split("_"))


def _near(env_id: str, known: Mapping[str, str]) -> str:
    lower = {name.removeprefix(_PREFIX).lower(): name for name in known}
    typed = env_id.removeprefix(_PREFIX).lower()
    near = difflib.get_close_matches(typed, lower, n=3, cutoff=0.6)
    return ", ".join(lower[match] for match in near) or f"{_PREFIX}Breakout, {_PREFIX}Pong"
