"""Which axes of a frame are height and width, and which one counts its channels."""

from collections.abc import Sequence


def channel_axis(frame_shape: Sequence[int]) -> int:
    """The axis that counts the channels of an image [C, H, W] or [H, W, C]: the shorter one.

    If the first and the last axis are equally long, it is the last one, as in Gymnasium.
    """
    return 0 if frame_shape[0] < frame_shape[-1] else len(frame_shape) - 1


def size(frame_shape: Sequence[int]) -> tuple[int, int] | None:
    """Height and width of a frame; None if it is not an image.

    Images are [H, W], [C, H, W] or [H, W, C].
    """
    if len(frame_shape) not in (2, 3):
        return None
    sides = list(frame_shape)
    if len(sides) == 3:
        del sides[channel_axis(frame_shape)]
    height, width = sides
    return height, width
