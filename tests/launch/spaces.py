"""A space of settings for tests of searches."""

import pathlib

from launch import search_space

SPACE = """
learning_rate = { low = 1e-4, high = 1e-2, log = true }
batch_size = { low = 32, high = 128, step = 32 }
hidden_sizes = ["16", "32,32"]
double_q = [true, false]
"""


def space_of(path: pathlib.Path, text: str) -> search_space.Space:
    (path / "space.toml").write_text(text)
    return search_space.read(path / "space.toml")
