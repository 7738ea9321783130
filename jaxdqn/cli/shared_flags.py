"""Flags that several programs have."""

import os
import pathlib
import typing
from collections.abc import Callable, Sequence

from absl import flags

from jaxdqn import errors
from jaxdqn.cli import paths
from jaxdqn.settings import protocols

if typing.TYPE_CHECKING:
    from jaxdqn.rundir import trained_agent

# The flags below belong to the program that defines them: its `--help` shows them.
flags.disclaim_key_flags()


def define_processes() -> None:
    """Defines the flags by which the processes of a run find each other."""
    flags.DEFINE_string(
        "coordinator_address",
        None,
        "host:port of process 0; needed by several processes unless SLURM, Kubernetes, Open MPI 4 "
        "or a Cloud TPU started them",
    )
    flags.DEFINE_integer(
        "num_processes",
        None,
        "number of processes of the run; 1: only this one, also under SLURM and the like",
        lower_bound=1,
    )
    flags.DEFINE_integer("process_id", None, "number of this process, from 0", lower_bound=0)


def define_saved_run() -> None:
    """Defines the flags that name a trained agent."""
    flags.DEFINE_string("run_dir", None, "folder of the run")
    flags.DEFINE_string(
        "checkpoint", "latest", "latest, best (by the run's own evaluations), or a step number"
    )
    flags.DEFINE_string(
        "agent",
        None,
        "instead of a run: a built-in agent such as CartPole, the folder of an export to "
        "safetensors, or hf:USER/NAME",
    )


def check_saved_run() -> None:
    """Checks that the user named one agent; importing JAX can wait until then.

    Raises:
      SettingError: none, or two.
    """
    values = flags.FLAGS
    if values.agent and values.run_dir:
        raise errors.SettingError("agent", "names an agent, and so does --run_dir; use one of them")
    if values.agent and flags.FLAGS["checkpoint"].present:
        raise errors.SettingError("checkpoint", "has no effect with --agent, which has only one")
    if not values.agent:
        _run_path()


def _run_path() -> pathlib.Path:
    path = flags.FLAGS.run_dir
    if not path:
        raise errors.SettingError("run_dir", "name the folder of a run, or an --agent")
    return paths.usable("run_dir", path)


def saved_agent(*, untrained: bool = False) -> "trained_agent.SavedAgent":
    """The agent that the user named.

    Args:
      untrained: only its settings matter; a run then needs no checkpoint.

    Raises:
      SettingError, RunError: there is none, or it cannot be read.
    """
    from jaxdqn.rundir import agent_names, exported_agent, trained_agent

    values = flags.FLAGS
    if values.agent:
        return exported_agent.load(agent_names.folder(values.agent))
    path = _run_path()
    return (
        trained_agent.untrained(path) if untrained else trained_agent.load(path, values.checkpoint)
    )


def define_play_seed() -> None:
    """Defines the seed of games that a trained agent plays."""
    flags.DEFINE_integer(
        "seed",
        0,
        "seed of random actions; environment i plays with seed + i, so close seeds share games",
        lower_bound=0,
        upper_bound=2**30,
    )


def output(name: str, suffixes: Sequence[str]) -> pathlib.Path | None:
    """The file to write that a flag names; None if it names none.

    Raises:
      SettingError: it cannot be written, or exists and `--overwrite` is not set.
    """
    value = flags.FLAGS[name].value
    if not value:
        return None
    path = paths.usable(name, value)
    if suffixes and path.suffix not in suffixes:
        raise errors.SettingError(name, f"is {value}; the name must end in {' or '.join(suffixes)}")
    if path.exists() and not flags.FLAGS.overwrite:
        raise errors.SettingError(name, f"{path} exists; --overwrite replaces it")
    if not path.absolute().parent.is_dir():
        raise errors.SettingError(name, f"{path.absolute().parent} is not a directory")
    if not os.access(path.absolute().parent, os.W_OK):
        raise errors.SettingError(name, f"{path.absolute().parent} cannot be written")
    return path


def new_folder() -> pathlib.Path:
    """The folder to write that `--out` names.

    Raises:
      SettingError: it names none or one that cannot be written, or `--overwrite` is not set.
    """
    folder = output("out", ())
    if folder is None:
        raise errors.SettingError("out", "name the folder to create")
    return folder


def check_replaceable(
    folder: pathlib.Path, may_be_replaced: Callable[[pathlib.Path], bool], content: str
) -> None:
    """Refuses to replace a folder that holds more than an earlier call wrote.

    Args:
      folder: to write; it may exist.
      may_be_replaced: whether it holds nothing else.
      content: what an earlier call wrote, such as 'an export'.

    Raises:
      SettingError: it holds something else.
    """
    if folder.exists() and not may_be_replaced(folder):
        raise errors.SettingError(
            "out", f"{folder} exists and holds more than {content}; choose another name"
        )


def protocol_for(agent: "trained_agent.SavedAgent") -> str:
    """The conditions of play that `--protocol` names, or else those that fit the agent."""
    named: str | None = flags.FLAGS.protocol
    return named or protocols.default_for(agent.config, agent.spec.game)


def define_protocol() -> None:
    """Defines the flag that names the conditions of play."""
    listed = "; ".join(f"{name}: {protocol.text}" for name, protocol in protocols.PROTOCOLS.items())
    flags.DEFINE_enum(
        "protocol",
        None,
        list(protocols.PROTOCOLS),
        "conditions of play (default: nature for Atari, machado if the run had sticky actions, and "
        f"greedy for others). {listed}",
    )
