"""What the actions of EnvPool's games are called."""

from collections.abc import Mapping

from jaxdqn.envs.envpool import games

# All joystick actions in the order of the Arcade Learning Environment (Bellemare et al.,
# arXiv:1207.4708).
_ALL = (
    "NOOP FIRE UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT UPFIRE RIGHTFIRE LEFTFIRE "
    "DOWNFIRE UPRIGHTFIRE UPLEFTFIRE DOWNRIGHTFIRE DOWNLEFTFIRE"
)
# Actions that have an effect -> the games in which they do, read from the emulator. Games that are
# not listed have all of them.
_MINIMAL: Mapping[str, str] = {
    "FIRE RIGHT LEFT": "Backgammon",
    "NOOP RIGHT LEFT": "Skiing",
    "NOOP UP DOWN": "Freeway",
    "NOOP FIRE RIGHT LEFT": "Breakout Kaboom",
    "NOOP FIRE RIGHTFIRE LEFTFIRE": "Atlantis Atlantis2",
    "NOOP FIRE UP DOWN": "Blackjack Casino",
    "FIRE UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT": "VideoCheckers",
    "NOOP FIRE RIGHT LEFT DOWN": "Tetris",
    "NOOP UP RIGHT LEFT DOWN": "Frogger Pacman Surround",
    "NOOP FIRE RIGHT LEFT RIGHTFIRE LEFTFIRE": (
        "AirRaid Carnival DemonAttack Galaxian NameThisGame Pong SirLancelot SpaceInvaders"
    ),
    "NOOP FIRE UP DOWN UPFIRE DOWNFIRE": "Bowling Pooyan UpNDown",
    "NOOP FIRE UP RIGHT LEFT DOWN": "BasicMath KingKong Qbert",
    "NOOP FIRE UP RIGHT LEFT RIGHTFIRE LEFTFIRE": "Assault",
    "NOOP FIRE RIGHT LEFT DOWN RIGHTFIRE LEFTFIRE DOWNFIRE": "Phoenix",
    "NOOP FIRE UP RIGHT LEFT UPFIRE RIGHTFIRE LEFTFIRE": "Gopher",
    "NOOP UP RIGHT LEFT DOWN UPFIRE RIGHTFIRE LEFTFIRE": "Tutankham",
    "NOOP FIRE RIGHT LEFT DOWN DOWNRIGHT DOWNLEFT RIGHTFIRE LEFTFIRE": "Enduro",
    "NOOP FIRE UP RIGHT LEFT DOWN UPFIRE RIGHTFIRE LEFTFIRE": "VideoPinball",
    "NOOP FIRE UP RIGHT LEFT UPRIGHT UPLEFT RIGHTFIRE LEFTFIRE": "BeamRider",
    "NOOP UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT": (
        "Asterix CrazyClimber Koolaid LostLuggage MsPacman"
    ),
    "NOOP FIRE UP RIGHT LEFT DOWN UPFIRE RIGHTFIRE LEFTFIRE DOWNFIRE": (
        "Amidar MrDo TimePilot WizardOfWor"
    ),
    "NOOP FIRE UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT": (
        "Othello TicTacToe3d VideoChess"
    ),
    "NOOP FIRE UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT RIGHTFIRE LEFTFIRE": "Turmoil",
    "NOOP FIRE UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT UPFIRE RIGHTFIRE "
    "LEFTFIRE DOWNFIRE": "KeystoneKapers",
    "NOOP FIRE UP RIGHT LEFT DOWN UPRIGHT UPLEFT UPFIRE RIGHTFIRE LEFTFIRE DOWNFIRE "
    "UPRIGHTFIRE UPLEFTFIRE": "Asteroids",
    "NOOP UP RIGHT LEFT DOWN DOWNRIGHT DOWNLEFT RIGHTFIRE LEFTFIRE DOWNFIRE UPRIGHTFIRE "
    "UPLEFTFIRE DOWNRIGHTFIRE DOWNLEFTFIRE": "KungFuMaster",
    "NOOP UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT RIGHTFIRE LEFTFIRE "
    "DOWNFIRE UPRIGHTFIRE UPLEFTFIRE DOWNRIGHTFIRE DOWNLEFTFIRE": "JourneyEscape",
}
_ATARI: Mapping[str, tuple[str, ...]] = {
    game: tuple(actions.split()) for actions, played in _MINIMAL.items() for game in played.split()
}
_OTHERS: Mapping[str, tuple[str, ...]] = {
    "Acrobot": ("PULL LEFT", "NO TORQUE", "PULL RIGHT"),
    "CartPole": ("LEFT", "RIGHT"),
    "Catch": ("LEFT", "STAY", "RIGHT"),
    "LunarLander": ("NO ENGINE", "LEFT ENGINE", "MAIN ENGINE", "RIGHT ENGINE"),
    "MountainCar": ("LEFT", "COAST", "RIGHT"),
}


def names(env_id: str, num_actions: int) -> tuple[str, ...]:
    """The names of an environment's actions, in order; none where nobody named them.

    Args:
      env_id: EnvPool's id.
      num_actions: of the environment; 18 in an Atari game are all that the joystick can do.
    """
    game, everything = games.plain_name(env_id), tuple(_ALL.split())
    if not games.is_atari(env_id):
        found = _OTHERS.get(game, ())
    elif num_actions == len(everything):
        found = everything
    else:
        found = _ATARI.get(game, ())
    return found if len(found) == num_actions else ()
