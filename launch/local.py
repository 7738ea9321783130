r"""Starts one run with several processes on this machine, on its CPU or each on its own GPUs.

  python -m launch.local --processes=2 -- --env=CartPole

Arguments after `--` are flags of `jaxdqn.train`. Each line of output begins with the number of the
process that printed it. Signals are passed on to all processes. If one fails, the others end too.
"""

import functools
import itertools
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import IO

from absl import flags

from jaxdqn import errors, wording
from jaxdqn.cli import program, terminal
from jaxdqn.distributed import signals

_LEAVING_S = 60.0  # in which processes notice that one of them is gone, and exit by themselves
_PAUSE_S = 0.1
# Exit codes of processes that were killed. JAX aborts the remaining ones.
_KILLED = {-signum for signum in signal.Signals if signum != signal.SIGABRT}
_NOISE = "[Gloo]"  # prefix of what Gloo prints about every connection


def _define_flags() -> None:
    flags.DEFINE_integer("processes", 2, "number of processes", lower_bound=1)
    flags.DEFINE_enum(
        "devices", None, ["cpu", "gpu"], "platform of the processes (default: gpu if there is one)"
    )
    flags.DEFINE_integer(
        "devices_per_process",
        0,
        "devices of each process: GPUs, or virtual CPU devices, which share its cores; 0: one "
        "device, or all GPUs for a single process",
        lower_bound=0,
    )
    flags.DEFINE_integer(
        "cores_per_process",
        0,
        "CPU cores for each process; 0: all processes share all cores",
        lower_bound=0,
    )
    flags.DEFINE_string("module", "jaxdqn.train", "Python module that the processes run")
    flags.DEFINE_boolean("dry_run", False, "print the commands without running them")


def main(train_flags: Sequence[str]) -> int:
    """Runs the processes to their end; returns the exit code of the first that failed."""
    values = flags.FLAGS
    address = _free_address()
    commands = _commands(values.module, values.processes, address, train_flags)
    environments = _environments(values.devices, values.processes, values.devices_per_process)
    if values.processes > 1:  # JAX would listen to other machines too
        environments = [own | {"JAX_COORDINATOR_BIND_ADDRESS": address} for own in environments]
    if values.dry_run:
        for command, added in zip(commands, environments, strict=True):
            words = [f"{name}={value}" for name, value in added.items()]
            print(shlex.join([*words, *command]))
        return 0
    cores = _cores(values.processes, values.cores_per_process)
    terminal.tolerate_loss("the processes continue")
    return _Processes(commands, environments, cores).to_the_end()


def _cores(processes: int, each: int) -> list[set[int]]:
    """The cores of each process; empty sets if they share all.

    Raises:
      SettingError: there are too few.
    """
    here = sorted(os.sched_getaffinity(0)) if each else []
    if len(here) < processes * each:
        raise errors.SettingError(
            "cores_per_process",
            f"is {each}, but there are only {len(here)} cores for {processes} processes",
        )
    return [set(here[i * each : (i + 1) * each]) for i in range(processes)]


def _free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def _commands(
    module: str, processes: int, address: str, train_flags: Sequence[str]
) -> list[list[str]]:
    train = [sys.executable, "-m", module, *train_flags]
    if processes == 1:
        return [[*train, "--num_processes=1"]]
    train += [f"--coordinator_address={address}", f"--num_processes={processes}"]
    return [[*train, f"--process_id={i}"] for i in range(processes)]


def gpus(devices: pathlib.Path = pathlib.Path("/dev")) -> list[str]:
    """The GPUs that may be used, by CUDA's names.

    Args:
      devices: the folder in which Linux shows them.
    """
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        told = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        # CUDA stops at the first that cannot be; -1 hides all.
        return list(itertools.takewhile(lambda name: name and not name.startswith("-"), told))
    # CUDA counts the visible GPUs from 0, whatever their files are called.
    return [str(index) for index, _ in enumerate(devices.glob("nvidia[0-9]*"))]


def _environments(devices: str | None, processes: int, each: int) -> list[dict[str, str]]:
    """Additional environment variables for each process.

    Raises:
      SettingError: there are too few GPUs.
    """
    here = gpus()
    is_on_cpu = not here or os.environ.get("JAX_PLATFORMS") == "cpu"
    if devices == "cpu" or (devices is None and is_on_cpu):
        own = {"JAX_PLATFORMS": "cpu"}
        if each:
            option = f"--xla_force_host_platform_device_count={each}"
            own["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {option}".strip()
        return [own] * processes
    if len(here) < processes * max(each, 1):
        raise errors.SettingError(
            "devices_per_process" if each else "processes",
            f"is {each or processes}, but this machine has {wording.counted(len(here), 'GPU')}; "
            f"{processes} processes share none",
        )
    if processes == 1 and not each:
        return [{}]
    each = max(each, 1)
    shares = [here[i * each : (i + 1) * each] for i in range(processes)]
    return [{"CUDA_VISIBLE_DEVICES": ",".join(share)} for share in shares]


class _Processes:
    """Processes that start and end together."""

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        environments: Sequence[dict[str, str]],
        cores: Sequence[set[int]],
    ):
        self._signals: list[int] = []
        self._processes: list[subprocess.Popen[str]] = []
        self._before = {
            signum: signal.signal(signum, self._pass_on) for signum in signals.to_be_heard()
        }
        end_with_parent = signals.end_with_parent()
        for command, added, own in zip(commands, environments, cores, strict=True):
            # In their own sessions: a terminal's Ctrl-C would reach them twice.
            process = subprocess.Popen(
                command,
                env=os.environ | added,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
            self._processes.append(process)
            if own:  # it has no threads yet
                os.sched_setaffinity(process.pid, own)
            if self._signals:
                process.send_signal(self._signals[-1])
        self._readers = [
            threading.Thread(target=_copy, args=(process.stdout, f"[{index}] "), daemon=True)
            for index, process in enumerate(self._processes)
        ]
        for reader in self._readers:
            reader.start()

    def to_the_end(self) -> int:
        """Waits for all; returns the exit code of the first that failed, or 0."""
        failed, code, since = None, 0, 0.0
        while any(process.poll() is None for process in self._processes):
            time.sleep(_PAUSE_S)
            if failed is None:
                failed, code = self._first_failure()
                since = time.monotonic()
            elif time.monotonic() - since > _LEAVING_S:
                for process in self._processes:
                    process.kill()
        for reader in self._readers:
            reader.join()
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        if failed is None:
            failed, code = self._first_failure()
        if failed is not None and not self._signals:
            how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
            print(f"process {failed} {how}; all have ended", file=sys.stderr, flush=True)
        return 128 - code if code < 0 else code

    def _first_failure(self) -> tuple[int | None, int]:
        """A process that failed, and its exit code; preferably not one that others made fail."""
        codes = [process.returncode for process in self._processes]
        failed = [index for index, code in enumerate(codes) if code]
        if not failed:
            return None, 0
        first = min(failed, key=lambda index: (codes[index] not in _KILLED, index))
        return first, codes[first]

    def _pass_on(self, signum: int, frame: FrameType | None) -> None:
        self._signals.append(signum)
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signum)


def _copy(lines: IO[str], prefix: str) -> None:
    for line in lines:
        if not line.startswith(_NOISE):
            print(f"{prefix}{line}", end="", flush=True)


if __name__ == "__main__":
    main_with_flags = functools.partial(main, program.take_passed_on())
    program.run_program(_define_flags, main_with_flags, handles_signals=True)
