"""SIGINT and SIGTERM as a polite request to save and leave."""

import signal
from types import FrameType, TracebackType
from typing import Self


class StopRequest:
    """While entered, the first signal is remembered; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._before[signum] = signal.signal(signum, self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        for other in self._before:
            signal.signal(other, signal.SIG_DFL)

    def __bool__(self) -> bool:
        return self.signum is not None
