"""Writing the replay between two checkpoints, which leaves little for the next one."""

import concurrent.futures
import time

import jax

from jaxdqn.checkpointing import replay_blocks, saving_errors
from jaxdqn.distributed import processes
from jaxdqn.replay import ring as ring_lib

_WORTHWHILE_BYTES = 64_000_000  # a small replay is written quickly


class WriteAhead:
    """Writes full blocks of the replay on a thread, while training goes on.

    Args:
      replay: its blocks; None if nothing is to be written.
      thread: where they are written.
    """

    def __init__(
        self,
        replay: replay_blocks.ReplayFiles | None,
        thread: concurrent.futures.ThreadPoolExecutor,
    ):
        self._replay, self._thread = replay, thread
        self._under_way: concurrent.futures.Future[int] | None = None
        self._written_bytes, self._stall_s = 0, 0.0

    def begin(self, ring: ring_lib.RingState, rows: int, life: int, *, is_idle: bool) -> None:
        """Begins to write; does nothing while something else is being written.

        What fails is tried again later.

        Args:
          ring: the replay.
          rows: written to it so far.
          life: of the ring; see `replay_blocks.ReplayFiles.save`.
          is_idle: whether this process is saving no checkpoint.

        Raises:
          RunError: it failed, and the run has several processes.
        """
        if (replay := self._replay) is None:
            return
        self.collect(wait=False)
        is_ready = is_idle and self._under_way is None
        unsaved_bytes = replay.unsaved_bytes(rows, life)
        if not processes.agreed_by_all(is_ready and unsaved_bytes >= _WORTHWHILE_BYTES):
            return
        began = time.monotonic()

        def work() -> None:
            with jax.transfer_guard("allow"):
                pending = replay.save(ring, rows, life, full_blocks=True)
            self._under_way = self._thread.submit(replay.finish, pending)

        if saving_errors.attempt("the replay", work):
            replay.give_up()
        self._stall_s = max(self._stall_s, time.monotonic() - began)

    def collect(self, *, wait: bool) -> None:
        """Records a finished write; with `wait`, waits for it.

        Raises:
          RunError: it failed, and the run has several processes.
        """
        if self._under_way is None or not (wait or self._under_way.done()):
            return
        under_way, self._under_way = self._under_way, None

        def work() -> None:
            self._written_bytes += under_way.result()

        if saving_errors.attempt("the replay", work) and self._replay:
            self._replay.give_up()

    def take(self) -> tuple[int, float]:
        """Bytes written since the last call, and the longest that training stood still for them."""
        taken = self._written_bytes, self._stall_s
        self._written_bytes, self._stall_s = 0, 0.0
        return taken
