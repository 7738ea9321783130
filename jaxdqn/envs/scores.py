"""Scores of random play and of a human tester on the 57 games, and scores relative to them.

The figures are those of Wang et al. (arXiv:1511.06581), which dqn_zoo lists in `atari_data.py`:
means over games that open with up to 30 no-ops and end after at most 108,000 frames.
"""

from collections.abc import Mapping

from jaxdqn.envs import api

ATARI_57: Mapping[str, api.Reference] = {
    "Alien": api.Reference(227.8, 7127.7),
    "Amidar": api.Reference(5.8, 1719.5),
    "Assault": api.Reference(222.4, 742.0),
    "Asterix": api.Reference(210.0, 8503.3),
    "Asteroids": api.Reference(719.1, 47_388.7),
    "Atlantis": api.Reference(12_850.0, 29_028.1),
    "BankHeist": api.Reference(14.2, 753.1),
    "BattleZone": api.Reference(2360.0, 37_187.5),
    "BeamRider": api.Reference(363.9, 16_926.5),
    "Berzerk": api.Reference(123.7, 2630.4),
    "Bowling": api.Reference(23.1, 160.7),
    "Boxing": api.Reference(0.1, 12.1),
    "Breakout": api.Reference(1.7, 30.5),
    "Centipede": api.Reference(2090.9, 12_017.0),
    "ChopperCommand": api.Reference(811.0, 7387.8),
    "CrazyClimber": api.Reference(10_780.5, 35_829.4),
    "Defender": api.Reference(2874.5, 18_688.9),
    "DemonAttack": api.Reference(152.1, 1971.0),
    "DoubleDunk": api.Reference(-18.6, -16.4),
    "Enduro": api.Reference(0.0, 860.5),
    "FishingDerby": api.Reference(-91.7, -38.7),
    "Freeway": api.Reference(0.0, 29.6),
    "Frostbite": api.Reference(65.2, 4334.7),
    "Gopher": api.Reference(257.6, 2412.5),
    "Gravitar": api.Reference(173.0, 3351.4),
    "Hero": api.Reference(1027.0, 30_826.4),
    "IceHockey": api.Reference(-11.2, 0.9),
    "Jamesbond": api.Reference(29.0, 302.8),
    "Kangaroo": api.Reference(52.0, 3035.0),
    "Krull": api.Reference(1598.0, 2665.5),
    "KungFuMaster": api.Reference(258.5, 22_736.3),
    "MontezumaRevenge": api.Reference(0.0, 4753.3),
    "MsPacman": api.Reference(307.3, 6951.6),
    "NameThisGame": api.Reference(2292.3, 8049.0),
    "Phoenix": api.Reference(761.4, 7242.6),
    "Pitfall": api.Reference(-229.4, 6463.7),
    "Pong": api.Reference(-20.7, 14.6),
    "PrivateEye": api.Reference(24.9, 69_571.3),
    "Qbert": api.Reference(163.9, 13_455.0),
    "Riverraid": api.Reference(1338.5, 17_118.0),
    "RoadRunner": api.Reference(11.5, 7845.0),
    "Robotank": api.Reference(2.2, 11.9),
    "Seaquest": api.Reference(68.4, 42_054.7),
    "Skiing": api.Reference(-17_098.1, -4336.9),
    "Solaris": api.Reference(1236.3, 12_326.7),
    "SpaceInvaders": api.Reference(148.0, 1668.7),
    "StarGunner": api.Reference(664.0, 10_250.0),
    "Surround": api.Reference(-10.0, 6.5),
    "Tennis": api.Reference(-23.8, -8.3),
    "TimePilot": api.Reference(3568.0, 5229.2),
    "Tutankham": api.Reference(11.4, 167.6),
    "UpNDown": api.Reference(533.4, 11_693.2),
    "Venture": api.Reference(0.0, 1187.5),
    "VideoPinball": api.Reference(16_256.9, 17_667.9),
    "WizardOfWor": api.Reference(563.5, 4756.5),
    "YarsRevenge": api.Reference(3092.9, 54_576.9),
    "Zaxxon": api.Reference(32.5, 9173.3),
}


# Known mean returns of other systems after so many frames. Nature DQN: Mnih et al.
# (2015); CleanRL's DQN and Stable-Baselines3's (RL Zoo): their published benchmarks; Dopamine's DQN
# with Adam plays with sticky actions.
PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "Nature DQN, 200M frames": {
        "Breakout": 401,
        "Pong": 18.9,
        "SpaceInvaders": 1_976,
        "BeamRider": 6_846,
        "Qbert": 10_596,
        "Enduro": 302,
        "Seaquest": 5_286,
        "MsPacman": 2_311,
    },
    "CleanRL DQN, 40M": {
        "Breakout": 367,
        "Pong": 20.3,
        "SpaceInvaders": 1_442,
        "BeamRider": 6_673,
        "MsPacman": 2_109,
    },
    "SB3 DQN, 40M": {
        "Breakout": 358,
        "Pong": 20.6,
        "SpaceInvaders": 623,
        "BeamRider": 4_296,
        "Qbert": 9_497,
        "Enduro": 831,
        "Seaquest": 2_000,
        "MsPacman": 2_683,
    },
    "Dopamine DQN, 40M (sticky)": {
        "Breakout": 103,
        "Pong": 17.8,
        "SpaceInvaders": 1_361,
        "BeamRider": 4_643,
        "Qbert": 8_288,
        "Enduro": 1_437,
        "Seaquest": 3_596,
        "MsPacman": 2_612,
    },
}


def published(game: api.GameInfo) -> dict[str, float]:
    """Mean returns of the systems in `PUBLISHED` on a game, by their names."""
    # Whatever a source calls the game, its reference is that of the game.
    names = {name for name, known in ATARI_57.items() if known == game.reference}
    return {
        system: values[name]
        for system, values in PUBLISHED.items()
        for name in names & values.keys()
    }


def human_normalised(reference: api.Reference | None, score: float) -> float | None:
    """A score as a share of the way from random play (0) to the human (1).

    Args:
      reference: of the game; None where it has none.
      score: a mean return.

    Returns:
      The share; None without a reference.
    """
    if reference is None:
        return None
    return (score - reference.random) / (reference.human - reference.random)
