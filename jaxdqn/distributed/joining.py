"""How the processes of a run find each other."""

import contextlib
import faulthandler
import functools
import importlib.util
import os
import pathlib
import sys
import threading
from collections.abc import Iterator

import jax

from jaxdqn import errors
from jaxdqn.distributed import processes

# A process that is silent for so long counts as dead, and the others leave.
_HEARTBEAT_TIMEOUT_S = 30
_SHUTDOWN_TIMEOUT_S = 60  # within which all reach the program's end
_START_TIMEOUT_S = 300  # within which all are started
_ALONE = "--num_processes=1 runs alone"
_QUIET_S = 10  # of waiting for the others before a line says so


def join(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None
) -> None:
    """Connects this process to the others of its run, if there are any.

    Without arguments JAX finds the others under SLURM, Kubernetes, Open MPI 4 and on Cloud TPU. JAX
    ends the process if they do not come within five minutes.

    Args:
      coordinator_address: host:port of process 0; all three arguments are given, or none.
      num_processes: of the run; 1 alone stops a process from looking for others.
      process_id: of this one, from 0.

    Raises:
      SettingError: the three arguments do not fit together.
      RunError: the others cannot be found.
    """
    if (coordinator_address, num_processes) == (None, 1) and process_id in (None, 0):
        return
    started_by = launcher()
    local_device_ids = None
    if coordinator_address and num_processes is None and started_by == "Open MPI":  # 5, for one
        num_processes = _number("OMPI_COMM_WORLD_SIZE")
        process_id = _number("OMPI_COMM_WORLD_RANK")
        local_device_ids = _own_of_open_mpi()
    given = (coordinator_address, num_processes, process_id)
    if given == (None, None, None) and not started_by:
        return
    _check_given(*given)
    # If one is lost, JAX aborts the others, whose threads' stacks say nothing.
    faulthandler.disable()
    # The run itself hears signals, and passes them on to the others.
    jax.config.update("jax_enable_preemption_service", False)
    where = coordinator_address or f"the others of {started_by}"
    try:
        with _said_if_late(f"waiting up to five minutes for {where}; {_ALONE}"):
            _initialize(coordinator_address, num_processes, process_id, local_device_ids)
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        is_unknown = isinstance(error, ValueError) and given == (None, None, None)
        if started_by == "Cloud TPU" and is_unknown and processes.count() == 1:
            print(f"running alone: this TPU's machine knows no others: {error}", file=sys.stderr)
            return
        problem = f"{error} is not set" if isinstance(error, KeyError) else str(error)
        raise errors.RunError(f"{where} cannot be reached: {problem}; {_ALONE}") from None


@contextlib.contextmanager
def _said_if_late(text: str) -> Iterator[None]:
    """Prints a line if the block takes long."""
    late = threading.Timer(_QUIET_S, functools.partial(print, text, file=sys.stderr, flush=True))
    late.daemon = True
    late.start()
    try:
        yield
    finally:
        late.cancel()


def _initialize(
    coordinator_address: str | None,
    num_processes: int | None,
    process_id: int | None,
    local_device_ids: int | None,
) -> None:
    """Has JAX connect the processes; what is None it finds out by itself."""
    jax.distributed.initialize(
        coordinator_address,
        num_processes,
        process_id,
        local_device_ids,
        # Otherwise it would still look for a launcher, and use only its share of the GPUs.
        cluster_detection_method=None if coordinator_address is None else "deactivate",
        heartbeat_timeout_seconds=_HEARTBEAT_TIMEOUT_S,
        initialization_timeout=_START_TIMEOUT_S,
        shutdown_timeout_seconds=_SHUTDOWN_TIMEOUT_S,
    )


def _own_of_open_mpi() -> int | None:
    """The device of this process if Open MPI started several on a machine; None: all devices."""
    environment = os.environ
    # Respect devices that were already assigned by JAX's or CUDA's variable.
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    is_shared_out = "JAX_LOCAL_DEVICE_IDS" in environment or (visible and "," not in visible)
    if is_shared_out or _number("OMPI_COMM_WORLD_LOCAL_SIZE", 1) == 1:
        return None
    return _number("OMPI_COMM_WORLD_LOCAL_RANK")


def _number(variable: str, default: int | None = None) -> int:
    """The number that a launcher has put into an environment variable.

    Args:
      variable: its name; an empty one counts as not set.
      default: its value if it is not set; None: it must be set.

    Raises:
      RunError: it is not set, or is no number.
    """
    value = os.environ.get(variable)
    if not value and default is not None:
        return default
    try:
        return int(value or "")
    except ValueError:
        problem = f"is {value!r}, not a number" if value else "is not set"
        raise errors.RunError(f"the environment variable {variable} {problem}; {_ALONE}") from None


def _check_given(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None
) -> None:
    """Checks what the user said; nothing may be said at all.

    Raises:
      SettingError: it cannot be.
    """
    if (coordinator_address, num_processes, process_id) == (None, None, None):
        return
    if coordinator_address is None or num_processes is None or process_id is None:
        raise errors.SettingError(
            "coordinator_address", "needs --num_processes and --process_id: set all three, or none"
        )
    host, _, port = coordinator_address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise errors.SettingError(
            "coordinator_address",
            f"is {coordinator_address!r}; must be host:port of process 0, port 1 to 65535",
        )
    if not 0 <= process_id < num_processes:
        raise errors.SettingError(
            "process_id",
            f"is {process_id}; must be from 0 to {num_processes - 1} of {num_processes}",
        )


def launcher() -> str:
    """What started this process as one of several; empty if nothing did."""
    environment = os.environ
    # Not SLURM_NTASKS: in an interactive shell that is the number of the whole allocation.
    if _number("SLURM_STEP_NUM_TASKS", 1) > 1:
        return "SLURM"
    if _number("OMPI_COMM_WORLD_SIZE", 1) > 1:
        return "Open MPI"
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return "Kubernetes"
    if "tpu" not in (environment.get("JAX_PLATFORMS") or "tpu"):
        return ""
    devices = pathlib.Path("/dev")
    chips = [*devices.glob("accel*"), *devices.glob("vfio/[0-9]*")]
    if chips and importlib.util.find_spec("libtpu"):
        return "Cloud TPU"
    return ""
