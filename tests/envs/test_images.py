"""Which axes of a frame are what."""

import pytest

from jaxdqn.envs import images


@pytest.mark.parametrize(
    ("shape", "axis", "size"),
    [
        ((3, 64, 64), 0, (64, 64)),
        ((63, 64, 3), 2, (63, 64)),
        ((10, 10, 4), 2, (10, 10)),
        ((12, 8, 10), 2, (12, 8)),  # of first and last, the shorter one; the second does not count
        ((10, 10, 10), 2, (10, 10)),  # the last one of equally long ones
        ((2, 84, 80), 0, (84, 80)),  # with a motion trace
    ],
)
def test_channels_are_the_shorter_of_first_and_last_axis(shape, axis, size):
    assert images.channel_axis(shape) == axis
    assert images.size(shape) == size


def test_frames_of_one_channel_and_other_frames():
    assert images.size((84, 80)) == (84, 80)
    assert images.size((4,)) is images.size((1, 3, 8, 8)) is None
