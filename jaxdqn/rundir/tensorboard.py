"""TensorBoard's event files, in whole records: tensorboardX's own writer dies of a full disk."""

import pathlib
import socket
import struct
import time
from collections.abc import Mapping

from tensorboardX import record_writer
from tensorboardX.proto import event_pb2, summary_pb2

from jaxdqn.storage import append_log

FOLDER = "tensorboard"  # of a run's event files


class Events:
    """One event file.

    Args:
      directory: where to create it, next to those of earlier starts.
      purge_step: points of earlier files from this step on are no longer shown.

    Raises:
      OSError: it cannot be created.
    """

    def __init__(self, directory: pathlib.Path, purge_step: int):
        directory.mkdir(exist_ok=True)
        is_first = not any(directory.iterdir())
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
        self._file = append_log.Appender(directory / name)
        self._write(event_pb2.Event(file_version="brain.Event:2"))
        if not is_first:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(event_pb2.Event(step=purge_step, session_log=start))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each curve."""
        named = [summary_pb2.Summary.Value(tag=n, simple_value=v) for n, v in values.items()]
        self._write(event_pb2.Event(step=step, summary=summary_pb2.Summary(value=named)))

    def film(self, step: int, gif: bytes, height: int, width: int) -> None:
        """Shows an animated GIF among the images."""
        image = summary_pb2.Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=gif
        )
        value = summary_pb2.Summary.Value(tag="play", image=image)
        self._write(event_pb2.Event(step=step, summary=summary_pb2.Summary(value=[value])))

    @property
    def problem(self) -> str:
        """Why something is not on disk yet; empty if everything is."""
        return self._file.problem

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, event: event_pb2.Event) -> None:
        event.wall_time = time.time()
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        self._file.append(length + _checksum(length) + data + _checksum(data))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", record_writer.masked_crc32c(data))
