"""The films of runs, as a page holds them."""

import base64
import pathlib
from collections.abc import Sequence

from jaxdqn import wording
from jaxdqn.reporting import found_runs


class Films:
    """The newest film of each run, as long as the page stays small enough to send.

    Args:
      limit_bytes: of all films of a page.
    """

    def __init__(self, limit_bytes: int):
        self._left = limit_bytes

    def of(self, members: Sequence[found_runs.Run]) -> list[dict[str, str]]:
        """Title, source and caption of each film; the source of one that is left out is empty."""
        return [self._film(run, path) for run in members for path in run.videos[-1:]]

    def _film(self, run: found_runs.Run, path: pathlib.Path) -> dict[str, str]:
        source = ""
        try:
            if path.stat().st_size > self._left:
                caption = f"{path}, left out: the page would grow too large"
            else:
                content = path.read_bytes()
                self._left -= len(content)
                caption = str(run.path)
                source = f"data:video/mp4;base64,{base64.b64encode(content).decode()}"
        except OSError as error:
            caption = f"{path} cannot be read: {error.strerror}"
        return {
            "title": f"Play at step {int(path.stem):,}",
            "source": source,
            "caption": wording.visible(caption),
        }
