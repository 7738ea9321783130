"""Films: MP4 and GIF, encoded by ffmpeg while they are made."""

import contextlib
import pathlib
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any

import imageio_ffmpeg
import numpy as np

from jaxdqn.runtime import files

FORMATS = (".mp4", ".gif")

# H.264 as every player takes it, its index first so that a page can begin to show it.
_MP4 = ("-movflags", "+faststart")
# A palette for every frame: one for all would have to wait for the last frame.
_GIF = ("-vf", "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1")


@contextlib.contextmanager
def writer(path: pathlib.Path, frames_per_second: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Gives a function that appends a frame [H, W, 3] uint8 of even height and width.

    The file is there when all of it is, and not before; frames pass through and are not held.

    Args:
      path: its suffix, one of `FORMATS`, says what it becomes.
      frames_per_second: of the film. A GIF counts in hundredths of a second: its frames last
        unequally, so that on the whole it keeps the rate.

    Raises:
      RunError: it cannot be written.
    """
    codec, pixels, options = (
        ("libx264", "yuv420p", _MP4) if path.suffix == ".mp4" else ("gif", "pal8", _GIF)
    )
    stream: Generator[None, Any, None] | None = None
    with files.whole(path) as part:

        def add(frame: np.ndarray) -> None:
            nonlocal stream
            if stream is None:
                stream = imageio_ffmpeg.write_frames(
                    str(part),
                    frame.shape[1::-1],
                    fps=frames_per_second,
                    codec=codec,
                    pix_fmt_out=pixels,
                    macro_block_size=2,
                    ffmpeg_log_level="error",
                    output_params=list(options),
                )
                with warnings.catch_warnings():
                    # JAX warns of forks, which the start of a program is until it becomes that.
                    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
                    stream.send(None)
            stream.send(np.ascontiguousarray(frame))

        try:
            yield add
        finally:
            if stream is not None:
                stream.close()
