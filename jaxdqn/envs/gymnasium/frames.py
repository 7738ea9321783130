"""What a Q-network is shown of an observation of Gymnasium."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jaxdqn.envs import api, images

OPTIONS = ("grayscale", "img_height", "img_width")  # of images
_Frame = npt.NDArray[np.generic]


class Shown(NamedTuple):
    """How observations of one space become frames."""

    frame: Callable[[Any], _Frame]  # of an observation
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    words: str  # what `frame` does; '' for nothing

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
    three or four channels, which come last in Gymnasium and first here. One that has at least as
    many channels as columns becomes a vector. A pixel of a resized image is the mean of those that
    it covers. Everything of more than 32 bits becomes float32, and so do bytes that never reach
    255: they are no pixels, which networks divide by 255.

    Args:
      env_id: for the message.
      space: of the observations.
      options: those of `OPTIONS` that are asked for.

    Raises:
      OptionError: an option that the observations do not take.
    """
    from gymnasium import spaces

    asked = {name: options[name] for name in OPTIONS if options.get(name) not in (None, False)}
    is_bytes = isinstance(space, spaces.Box) and space.dtype == np.uint8
    is_small = is_bytes and space.high.max(initial=0) < 255
    if is_bytes and not is_small and _is_image(space.shape):
        return _image(env_id, space.shape, asked)
    if asked:
        name, value = next(iter(asked.items()))
        raise api.OptionError(name, f"is {value}, but {env_id} shows no images of bytes")
    if isinstance(space, spaces.Discrete):
        return _one_hot(int(space.n), int(space.start))
    if isinstance(space, spaces.Box) and np.dtype(space.dtype).kind in "biuf":
        return _array(space.shape, np.dtype(space.dtype), is_small)
    return None


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))


def _checked(values: Any, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> _Frame:
    """An observation as an array.

    Raises:
      UnsupportedEnvError: its space has another shape, or a type that would change its values.
    """
    seen = np.asarray(values)
    if seen.shape != shape:
        raise _unlike(f"has shape {seen.shape}", f"has {shape}")
    if seen.dtype == dtype:
        return seen
    if seen.dtype.kind not in ("biuf" if dtype.kind == "f" else "biu"):
        raise _unlike(f"has type {seen.dtype}", f"has {dtype}")
    if dtype.kind in "iu" and seen.size:
        held, least, most = np.iinfo(dtype.str), seen.min(), seen.max()
        if least < held.min or most > held.max:
            raise _unlike(f"has values from {least} to {most}", f"has {dtype}")
    return seen


def _unlike(seen: str, promised: str) -> api.UnsupportedEnvError:
    return api.UnsupportedEnvError(f"an observation {seen}, but observation_space {promised}")


def _one_hot(size: int, start: int) -> Shown:
    def frame(number: Any) -> _Frame:
        index = int(_checked(number, (), np.dtype(np.int64))) - start
        if not 0 <= index < size:
            raise _unlike(f"is {number}", f"has numbers from {start} to {start + size - 1}")
        vector = np.zeros(size, np.float32)
        vector[index] = 1.0
        return vector

    words = f"turn the number, from {start} on, into a one-hot vector of length {size}"
    return Shown(frame, (size,), np.dtype(np.float32), words)


def _array(seen: tuple[int, ...], dtype: np.dtype[np.generic], is_small: bool) -> Shown:
    is_kept = dtype.itemsize <= 4 and dtype.kind != "b" and not is_small
    kept = dtype if is_kept else np.dtype(np.float32)
    steps = [] if kept == dtype else [f"convert it to {kept.name}"]
    steps += [] if seen else ["make it a vector of length 1"]
    shape = seen or (1,)

    def frame(values: Any) -> _Frame:
        return _checked(values, seen, dtype).astype(kept, copy=False).reshape(shape)

    return Shown(frame, shape, kept, ", ".join(steps))


def _image(env_id: str, shape: tuple[int, ...], asked: Mapping[str, Any]) -> Shown:
    from PIL import Image

    height, width, *channels = shape
    height, width = asked.get("img_height", height), asked.get("img_width", width)
    is_grey, is_resized = "grayscale" in asked, (height, width) != shape[:2]
    num_seen = channels[0] if channels else 1
    if is_grey and num_seen == 4:
        raise api.OptionError("grayscale", f"is true, but {env_id} shows images of 4 channels")
    num_channels = 1 if is_grey else num_seen

    def frame(pixels: Any) -> _Frame:
        pixels = _checked(pixels, shape, np.dtype(np.uint8)).astype(np.uint8, copy=False)
        if is_grey and num_seen == 3:
            pixels = np.asarray(Image.fromarray(pixels).convert("L"))
        planes = list(np.moveaxis(pixels, 2, 0)) if pixels.ndim == 3 else [pixels]
        if is_resized:
            pictures = (Image.fromarray(plane) for plane in planes)
            size, mean = (width, height), Image.Resampling.BOX
            planes = [np.asarray(picture.resize(size, mean)) for picture in pictures]
        return planes[0] if len(planes) == 1 else np.stack(planes).reshape(of_frame)

    of_frame: tuple[int, ...] = (height, width)
    if num_channels > 1:
        of_frame = (num_channels, height, width)
    # Otherwise `images` would take another axis for the channels.
    is_image = num_channels == 1 or images.channel_axis(of_frame) == 0
    of_frame = of_frame if is_image else (math.prod(of_frame),)
    steps = ["convert the image to grayscale"] if is_grey and num_seen == 3 else []
    steps += ["move the channels to the front"] if num_channels > 1 else []
    steps += ["drop the axis of its one channel"] if num_seen == 1 and channels else []
    steps += [f"resize to {height} x {width} by a box filter"] if is_resized else []
    steps += [] if is_image else ["flatten it, too narrow for convolutions"]
    return Shown(frame, of_frame, np.dtype(np.uint8), ", ".join(steps))
