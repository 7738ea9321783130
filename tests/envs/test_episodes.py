import numpy as np

from jaxdqn.envs import episodes


def test_recent_games_are_the_last_hundred():
    recent = episodes.RecentGames()
    assert recent.means() == (None, None)
    for score in range(150):
        recent.add(score, 10 * score)
    assert recent.means() == (np.mean(range(50, 150)), 10 * np.mean(range(50, 150)))
