"""Ray, which starts the runs of a sweep on the machines of a cluster."""

import contextlib
import logging
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from jaxdqn import errors, extras, wording
from jaxdqn.cli import program, terminal
from jaxdqn.rundir import run_lock
from launch import sweep_runs, sweep_worker

_LOOK_S = 5.0  # between two looks at the runs
_POLL_S = 0.25  # between two questions whether one has ended
_SAVE_S = 120.0  # for runs that are being stopped
_GB = 1e9  # bytes
# What a run reserves, by Ray's names: the flag, the unit, and how many of Ray's it has.
_RESERVED = {
    "CPU": ("cpus_per_run", "CPU", 1),
    "GPU": ("gpus_per_run", "GPU", 1),
    "memory": ("memory_per_run", "GB of memory", _GB),
}


@contextlib.contextmanager
def connected(runs_dir: pathlib.Path) -> Iterator[Any]:
    """Ray, connected to its cluster, when all that the sweep needs is there.

    Raises:
      RunError: a package is missing, or Ray does not start.
      SettingError: nothing can be written into the folder of the runs, or no machine has what a run
        needs.
    """
    # Its workers would kill the runs that they started before these have saved. A run ends with its
    # worker anyway, by a signal that it heeds. Ray reads this where it is imported.
    os.environ.setdefault("RAY_kill_child_processes_on_worker_exit", "false")
    try:
        import ray
        import rich  # noqa: F401 - the table needs it
    except ImportError as error:
        raise not_installed(error) from None
    try:
        (runs_dir / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.SettingError("runs_dir", f"{runs_dir} cannot be used: {error}") from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(address=flags.FLAGS.address, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise errors.RunError(f"Ray does not start: {error}") from None
    program.leave_on_signals()  # again, because Ray's own handlers exit with another code
    terminal.tolerate_loss("the runs continue")
    try:
        _check_room(ray)
        yield ray
    except (KeyboardInterrupt, SystemExit):
        ray.shutdown()  # which ends the workers, and each of them its run
        wait_until_saved(runs_dir)
        raise
    finally:
        ray.shutdown()


def wait_until_saved(runs_dir: pathlib.Path) -> None:
    """Waits for runs that are ending: where this process is a container's first, they would end
    with it, before they have saved."""
    until, told = time.monotonic() + _SAVE_S, False
    while time.monotonic() < until:
        saving = [x for x in runs_dir.glob("*-seed*") if not run_lock.wait_until_free(x)]
        if not saving:
            return
        if not told:
            print(f"waiting for {wording.counted(len(saving), 'run')} to save", flush=True)
            told = True
        time.sleep(_POLL_S)


def not_installed(error: ImportError) -> errors.RunError:
    """What to say of a package that sweeps need."""
    return errors.RunError(f"{error.name} is not installed: {extras.installation('sweep')}")


def starter(ray: Any) -> Callable[[sweep_runs.Run], Any]:
    """A function that has Ray train a run, and returns its task."""
    values, cwd, wanted = flags.FLAGS, pathlib.Path.cwd(), _wanted(ray)
    gpus = gpus_per_run(ray)
    # Machines of a cluster have jaxdqn installed, but not these files.
    for module in (sweep_runs, sweep_worker):
        ray.cloudpickle.register_pickle_by_value(module)
    remote = ray.remote(
        num_cpus=wanted.get("CPU", 0),
        num_gpus=wanted.get("GPU", 0),
        memory=wanted.get("memory"),
        max_retries=values.retries,
        retry_exceptions=[sweep_worker.CutOffError],
    )(sweep_worker.train)
    return lambda run: remote.remote(run, gpus, cwd)


def wait(ray: Any, tasks: Iterable[Any]) -> set[Any]:
    """The tasks that have ended, after a while or as soon as there is one.

    Ray itself would make a signal that comes while it waits an exit with code 1.
    """
    waiting, until = list(tasks), time.monotonic() + _LOOK_S
    while True:
        done, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        if done or time.monotonic() > until:
            return set(done)
        time.sleep(_POLL_S)


class Problem(NamedTuple):
    """Why a run failed."""

    text: str
    is_final: bool  # its settings were refused, or it diverged; else it was cut off too often
    has_diverged: bool


def problem(ray: Any, task: Any) -> Problem | None:
    """Why a task that has ended failed; None if it did not."""
    try:
        ray.get(task)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        kind = type(cause).__name__  # a copy of the class, which came with the worker's code
        has_diverged = kind == sweep_worker.DivergedError.__name__
        is_final = has_diverged or kind == sweep_worker.RefusedError.__name__
        return Problem(wording.one_line(cause), is_final, has_diverged)
    return None


def train_all(ray: Any, runs: Sequence[sweep_runs.Run]) -> dict[sweep_runs.Run, Problem]:
    """Trains all runs and shows their progress; returns why those failed that did."""
    from rich import live

    from launch import sweep_table

    start = starter(ray)
    before = {run: run.attempts() for run in runs}  # by earlier sweeps
    waiting = {start(run): run for run in runs}
    states, problems = dict.fromkeys(runs, "waiting"), dict[sweep_runs.Run, Problem]()
    with live.Live(refresh_per_second=1, transient=True) as shown:
        while waiting:
            for task in wait(ray, waiting):
                run = waiting.pop(task)
                if found := problem(ray, task):
                    problems[run] = found
                _tell(states, run, "failed" if found else "complete")
            for run in waiting.values():
                if run.attempts() > before[run]:
                    _tell(states, run, "running")
            shown.update(sweep_table.progress(states))
    return problems


def _tell(states: dict[sweep_runs.Run, str], run: sweep_runs.Run, state: str) -> None:
    """Notes the state of a run; a log file, where no table can move, gets a line for each."""
    if states[run] != state and not sys.stdout.isatty():
        print(f"{run.path.name}: {state}", flush=True)
    states[run] = state


def _check_room(ray: Any) -> None:
    """Checks that some machine has what a run needs, because Ray would wait for one without a word.

    A cluster with an address may grow, so there it is only a warning.

    Raises:
      SettingError: no machine has it.
    """
    wanted = _wanted(ray)
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(_room(machine, wanted) >= 1 for machine in machines):
        return
    most = {name: max(machine.get(name, 0) for machine in machines) for name in wanted}
    short = [name for name, amount in wanted.items() if most[name] < amount] or list(wanted)
    problem = f"a run needs {_told(wanted)}; no machine has more than {_told(most)}"
    if not (flags.FLAGS.address or os.environ.get("RAY_ADDRESS")):
        raise errors.SettingError(_RESERVED[short[0]][0], problem)
    print(f"warning: {problem}: runs wait for one that has", file=sys.stderr, flush=True)


def runs_at_once(ray: Any) -> int:
    """How many runs the cluster has room for now, at least one."""
    wanted = _wanted(ray)
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return max(1, sum(int(_room(machine, wanted)) for machine in alive))


def _wanted(ray: Any) -> dict[str, float]:
    """What each run reserves, by Ray's names."""
    values = flags.FLAGS
    memory = values.memory_per_run and values.memory_per_run * _GB
    wanted = {"CPU": values.cpus_per_run, "GPU": gpus_per_run(ray), "memory": memory}
    return {name: amount for name, amount in wanted.items() if amount}


def _room(machine: Mapping[str, float], wanted: Mapping[str, float]) -> float:
    """How many runs a machine has room for, 1 if they reserve nothing."""
    return min((machine.get(name, 0) / amount for name, amount in wanted.items()), default=1)


def _told(resources: Mapping[str, float]) -> str:
    """Resources with their units: '4 CPU and 2 GPU'."""
    amounts = [(amount, *_RESERVED[name][1:]) for name, amount in resources.items()]
    return " and ".join(f"{amount / scale:.4g} {unit}" for amount, unit, scale in amounts)


def gpus_per_run(ray: Any) -> float | None:
    """What the user said, or 1 if the cluster has GPUs and JAX may use them; None: Ray has none."""
    given: float | None = flags.FLAGS.gpus_per_run
    if given is not None or "GPU" not in ray.cluster_resources():
        return given
    return 0.0 if os.environ.get("JAX_PLATFORMS") == "cpu" else 1.0
