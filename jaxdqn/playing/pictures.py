"""Frames of any environment as pictures: bytes in gray or in color."""

import numpy as np

from jaxdqn.envs import images

_SMALLEST_COLOUR = 16  # pixels; smaller frames with three channels are three things on a board
_LONGEST_TO_SHORTEST = 20  # sides of a picture; what is longer is a list of numbers
_SCREEN = 200  # pixels, about the height of an Atari screen
_WIDEST = 1600  # pixels of an enlarged one


def of_stack(stack: np.ndarray) -> np.ndarray | None:
    """The frames of a stack as pictures, oldest first.

    Args:
      stack: [S, *frame_shape] of any type. A frame [H, W] is a gray picture, and one with three
        channels, [3, H, W] or [H, W, 3], a colored one. Each of any other channels, such as
        frames and their traces of motion, is a gray picture of its own.

    Returns:
      [N, H, W] or [N, H, W, 3] uint8; None if a frame is not a picture.
    """
    if stack.ndim not in (3, 4):
        return None
    frames = unstacked(as_bytes(stack))
    sides = frames.shape[1:3]
    return frames if max(sides) <= _LONGEST_TO_SHORTEST * min(sides) else None


def unstacked(frames: np.ndarray) -> np.ndarray:
    """Images [S, *frame_shape] as those that are drawn, [N, H, W] or [N, H, W, 3]."""
    if frames.ndim == 3:
        return frames
    frames = np.moveaxis(frames, 1 + images.channel_axis(frames.shape[1:]), 1)
    if frames.shape[1] == 3 and min(frames.shape[2:]) >= _SMALLEST_COLOUR:
        return frames.transpose(0, 2, 3, 1)
    return frames.reshape(-1, *frames.shape[2:])


def screen(frame: np.ndarray) -> np.ndarray | None:
    """One frame as an enlarged screen, [H, W, 3] uint8; None if it is not a picture."""
    found = of_stack(frame[None])
    if found is None:
        return None
    picture = np.concatenate(list(found), axis=1)  # channels side by side
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    height, width, _ = picture.shape
    scale = max(1, min(_SCREEN // height, _WIDEST // width))
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def as_bytes(values: np.ndarray) -> np.ndarray:
    """Bytes as they are; other numbers from the smallest (black) to the largest (white)."""
    if values.dtype == np.uint8:
        return values
    return np.rint(255 * shares(values)).astype(np.uint8)


def shares(values: np.ndarray) -> np.ndarray:
    """Where numbers lie between the smallest (0) and the largest (1).

    Infinite numbers count as the nearest finite ones, NaN as 0.
    """
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    smallest, largest = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    share: np.ndarray = (wide.clip(smallest, largest) - smallest) / ((largest - smallest) or 1.0)
    return np.nan_to_num(share)
