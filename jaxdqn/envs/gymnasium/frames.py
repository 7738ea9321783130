"""What a Q-network is shown of an observation of Gymnasium."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jaxdqn.envs import api

OPTIONS = ("grayscale", "img_height", "img_width")  # of images
_Frame = npt.NDArray[np.generic]


class Shown(NamedTuple):
    """How observations of one space become frames."""

    frame: Callable[[Any], _Frame]  # of an observation
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    def space(self) -> Any:
        """Their space, a `gymnasium.spaces.Box`."""
        import gymnasium

        low, high = (-np.inf, np.inf)
        if self.dtype.kind != "f":
            held = np.iinfo(self.dtype.str)
            low, high = held.min, held.max
        dtype: Any = self.dtype
        return gymnasium.spaces.Box(low, high, self.shape, dtype)


def shown(env_id: str, space: Any, options: Mapping[str, Any]) -> Shown | None:
    """How the observations of a Gymnasium space become frames; None if they cannot.

    A number of a Discrete space becomes a vector with a 1 in its place. Images are bytes of one,
    three or four channels, which come last in Gymnasium and first here. A pixel of a resized image
    is the mean of those that it covers. Everything of more than 32 bits becomes float32.

    Args:
      env_id: for the message.
      space: of the observations.
      options: those of `OPTIONS` that are asked for.

    Raises:
      OptionError: an option that the observations do not take.
    """
    asked = {name: options[name] for name in OPTIONS if options.get(name) not in (None, False)}
    kind = type(space).__name__
    if kind == "Box" and space.dtype == np.uint8 and _is_image(space.shape):
        return _image(space.shape, asked)
    if asked:
        name, value = next(iter(asked.items()))
        raise api.OptionError(name, f"is {value}, but {env_id} shows no images of bytes")
    if kind == "Discrete":
        return _one_hot(int(space.n), int(space.start))
    if kind == "Box" and np.dtype(space.dtype).kind in "biuf":
        return _array(space.shape or (1,), np.dtype(space.dtype))
    return None


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))


def _one_hot(size: int, start: int) -> Shown:
    rows = np.eye(size, dtype=np.float32)
    return Shown(lambda number: rows[int(number) - start], (size,), rows.dtype)


def _array(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Shown:
    kept = dtype if dtype.itemsize <= 4 and dtype.kind != "b" else np.dtype(np.float32)
    return Shown(lambda values: np.asarray(values, kept).reshape(shape), shape, kept)


def _image(shape: tuple[int, ...], asked: Mapping[str, Any]) -> Shown:
    from PIL import Image

    height, width, *channels = shape
    height, width = asked.get("img_height", height), asked.get("img_width", width)
    is_grey, is_resized = "grayscale" in asked, (height, width) != shape[:2]
    num_channels = 1 if is_grey or not channels else channels[0]

    def frame(pixels: Any) -> _Frame:
        pixels = np.asarray(pixels, np.uint8)
        pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
        picture = Image.fromarray(pixels)
        if is_grey and pixels.ndim == 3:
            picture = picture.convert("L")
        if is_resized:
            picture = picture.resize((width, height), Image.Resampling.BOX)
        seen = np.asarray(picture)
        return seen if seen.ndim == 2 else np.ascontiguousarray(seen.transpose(2, 0, 1))

    of_frame = (height, width) if num_channels == 1 else (num_channels, height, width)
    return Shown(frame, of_frame, np.dtype(np.uint8))
