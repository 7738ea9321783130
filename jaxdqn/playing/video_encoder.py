"""Films: MP4 and GIF, encoded while they are made by ffmpeg, which `imageio_ffmpeg` brings."""

import contextlib
import pathlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

import imageio_ffmpeg
import numpy as np

from jaxdqn.storage import atomic_files

_ENCODING = {
    # For every player, with the index first so that a web page can start to show it.
    ".mp4": ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart"),
    # One palette for each frame: a common one would have to wait for the last frame.
    ".gif": ("-vf", "{fps}split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"),
}

_FASTEST_GIF = 50  # frames per second; browsers play what is faster in slow motion


@contextlib.contextmanager
def writer(path: pathlib.Path, frames_per_second: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields a function that appends a frame [H, W, 3] uint8 of even height and width.

    The file appears only when it is complete. Frames have one size, pass through and are not held.

    Args:
      path: its suffix, .mp4 or .gif, sets the format.
      frames_per_second: of the film. A GIF counts in hundredths of a second; its frames have
        unequal lengths, so that it keeps the rate on the whole. Of more than 50 frames per second,
        it leaves some out.

    Raises:
      RunError: it cannot be written, or its frames are not all of one size.
    """
    process: subprocess.Popen[bytes] | None = None
    first: tuple[int, ...] = ()
    with atomic_files.whole(path) as part, tempfile.TemporaryFile() as stderr:

        def add(frame: np.ndarray) -> None:
            nonlocal process, first
            if process is None:
                process, first = _start(part, frame, frames_per_second, stderr), frame.shape
            if frame.shape != first:  # the encoder would cut its bytes into frames of the first
                raise OSError(f"frames of {_size(first)} pixels, then one of {_size(frame.shape)}")
            assert process.stdin is not None
            process.stdin.write(np.ascontiguousarray(frame).data)

        try:
            yield add
        except BrokenPipeError:  # it has ended and printed why
            pass
        except BaseException:
            if process is not None:
                process.kill()
                process.communicate()
            raise
        if process is not None:
            process.communicate()
            if process.returncode:
                stderr.seek(0)
                raise OSError(stderr.read().decode(errors="replace").strip())


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"


def _start(
    path: pathlib.Path, frame: np.ndarray, frames_per_second: float, stderr: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Starts the encoder, which takes frames like `frame` and writes errors to `stderr`.

    Raises:
      OSError: there is no ffmpeg.
    """
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise OSError(f"no ffmpeg: {error}") from None
    height, width, _ = frame.shape
    fps = f"fps={_FASTEST_GIF}," if frames_per_second > _FASTEST_GIF else ""
    encoding = [option.format(fps=fps) for option in _ENCODING[path.suffix]]
    return subprocess.Popen(
        [
            *(program, "-y", "-loglevel", "error"),
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"),
            *("-r", f"{frames_per_second:g}", "-i", "-", *encoding, f"file:{path}"),
        ],
        stdin=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C must reach only this program, which then ends the encoder
    )
