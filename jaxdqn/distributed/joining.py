"""How the processes of a run find each other."""

import faulthandler
import functools
import importlib.util
import os
import pathlib
import sys
import threading

import jax

from jaxdqn import errors
from jaxdqn.distributed import processes

# A process that cannot be heard for so long is dead, and the others leave.
_HEARTBEAT_TIMEOUT_S = 30
_SHUTDOWN_TIMEOUT_S = 60  # in which all reach the program's end
_START_TIMEOUT_S = 300  # in which all are started
_QUIET_S = 10  # of waiting for the others before it is told


def join(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None
) -> None:
    """Makes this process one of several, where it is one of several.

    Without arguments JAX finds the others under SLURM, Kubernetes, Open MPI 4 and on Cloud TPU.
    Others that do not come in five minutes end the process from within JAX.

    Args:
      coordinator_address: host:port of process 0; all three are given, or none.
      num_processes: of the run; 1 alone keeps a process from looking for others.
      process_id: of this one, from 0.

    Raises:
      SettingError: the three do not fit.
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
    if None not in given:
        assert coordinator_address and num_processes is not None and process_id is not None
        _check_given(coordinator_address, num_processes, process_id)
    elif given != (None, None, None):
        raise errors.SettingError(
            "coordinator_address", "goes with --num_processes and --process_id: all three, or none"
        )
    # Where one is lost, JAX aborts the others: where each of their threads stood says nothing.
    faulthandler.disable()
    # A signal is heard by the run itself, and told to the others by itself.
    jax.config.update("jax_enable_preemption_service", False)
    where = coordinator_address or f"the others of {started_by}"
    told = f"waits for {where}, five minutes at most; --num_processes=1 runs alone"
    late = threading.Timer(_QUIET_S, functools.partial(print, told, file=sys.stderr, flush=True))
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(
            coordinator_address,
            num_processes,
            process_id,
            local_device_ids,
            # Else it would look for a launcher all the same, and take its share of the GPUs.
            cluster_detection_method=None if coordinator_address is None else "deactivate",
            heartbeat_timeout_seconds=_HEARTBEAT_TIMEOUT_S,
            initialization_timeout=_START_TIMEOUT_S,
            shutdown_timeout_seconds=_SHUTDOWN_TIMEOUT_S,
        )
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        is_unknown = isinstance(error, ValueError) and given == (None, None, None)
        if started_by == "Cloud TPU" and is_unknown and processes.count() == 1:
            print(f"alone: this TPU's machine knows of no others: {error}", file=sys.stderr)
            return
        told = f"{error} is not set" if isinstance(error, KeyError) else str(error)
        raise errors.RunError(
            f"{where} cannot be reached: {told}; --num_processes=1 runs alone"
        ) from None
    finally:
        late.cancel()


def _own_of_open_mpi() -> int | None:
    """The device of this process, where Open MPI started several on a machine; None: all here."""
    environment = os.environ
    # What somebody else has shared out, by JAX's variable or CUDA's, stays so.
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    is_shared_out = "JAX_LOCAL_DEVICE_IDS" in environment or (visible and "," not in visible)
    if is_shared_out or _number("OMPI_COMM_WORLD_LOCAL_SIZE", 1) == 1:
        return None
    return _number("OMPI_COMM_WORLD_LOCAL_RANK")


def _number(variable: str, default: int | None = None) -> int:
    """What a launcher says in an environment variable.

    Args:
      variable: its name; an empty one counts as not set.
      default: where it is not set; None: it must be.

    Raises:
      RunError: it is not set, or is no number.
    """
    value = os.environ.get(variable)
    if not value and default is not None:
        return default
    try:
        return int(value or "")
    except ValueError:
        told = f"is {value!r}, no number" if value else "is not set"
        raise errors.RunError(
            f"the environment variable {variable} {told}; --num_processes=1 runs alone"
        ) from None


def _check_given(coordinator_address: str, num_processes: int, process_id: int) -> None:
    """Checks what the user said.

    Raises:
      SettingError: it cannot be.
    """
    host, _, port = coordinator_address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise errors.SettingError(
            "coordinator_address",
            f"is {coordinator_address!r}; host:port of process 0, with a port from 1 to 65535",
        )
    if not 0 <= process_id < num_processes:
        raise errors.SettingError(
            "process_id", f"is {process_id}; from 0 to {num_processes - 1} of {num_processes}"
        )


def launcher() -> str:
    """What started this process as one of several; empty where nothing did."""
    environment = os.environ
    # Not SLURM_NTASKS: an interactive shell has that of its whole allocation.
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
