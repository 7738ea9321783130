"""The folders of a run's checkpoints: their names, and cleaning up after a killed process."""

import contextlib
import pathlib
import shutil
from collections.abc import Callable, Sequence

from jaxdqn import errors
from jaxdqn.storage import checksums

_DAMAGED, _REPLACED = "damaged", ".replaced"
_IS_UNFINISHED = "orbax-checkpoint-tmp"  # in names


def steps_in(directory: pathlib.Path) -> list[int]:
    """The agent steps of the checkpoints in a folder, in order.

    Raises:
      RunError: it cannot be read.
    """
    try:
        folders = [path for path in directory.iterdir() if path.name.isdecimal()]
        return sorted(int(path.name) for path in folders if checksums.is_signed(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise errors.RunError(f"{directory} cannot be read: {error}") from None


def replaced(folder: pathlib.Path) -> pathlib.Path:
    """The name of a folder that gives way to a new one until that is whole."""
    return folder.with_name(f"{folder.name}{_REPLACED}")


def bring_back(folder: pathlib.Path) -> None:
    """Deletes what was being written as this folder, and restores what gave way to it."""
    for path in folder.parent.glob(f"{folder.name}.{_IS_UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        checksums.delete(folder)
    with contextlib.suppress(OSError):
        replaced(folder).rename(folder)


def tidy(directory: pathlib.Path, say: Callable[[str], None]) -> None:
    """Cleans up what was being written when a process was killed, as far as it can be deleted.

    Raises:
      RunError: another version wrote the checkpoints.
    """
    for path in list(directory.glob("*")):
        if _IS_UNFINISHED in path.name or path.name.endswith(checksums.DELETED):
            shutil.rmtree(path, ignore_errors=True)
    for path in list(directory.glob(f"*{_REPLACED}")):
        folder = path.with_name(path.name.removesuffix(_REPLACED))
        if checksums.is_signed(folder):
            with contextlib.suppress(OSError):
                checksums.delete(path)
        else:
            bring_back(folder)
    for path in list(directory.glob("*")):
        if path.name.isdecimal() and not checksums.is_signed(path):
            if not (path / "play").exists() and not steps_in(directory):
                raise errors.RunError(
                    f"{path} was written by another version, which this one cannot resume"
                )
            say(checksums.problem(path))
            set_aside(directory, int(path.name))


def newest(
    directory: pathlib.Path, replay_problem: Callable[[int], str], say: Callable[[str], None]
) -> tuple[int, bool] | None:
    """The newest undamaged checkpoint; newer, damaged ones are moved away.

    Args:
      directory: of the checkpoints.
      replay_problem: returns what is wrong with the replay of a step's checkpoint.
      say: prints what is wrong with those that are not taken.

    Returns:
      Its step, and whether its replay is as it was written too: without that it is taken if no
      other is whole. None if there are no checkpoints.

    Raises:
      RunError: there are checkpoints, and none can be used.
    """
    tidy(directory, say)
    steps = steps_in(directory)
    problems: dict[int, str] = {}
    taken, is_whole = None, False
    for step in reversed(steps):
        problems[step] = checksums.problem(directory / str(step))
        if problems[step]:
            continue
        if taken is None:
            taken = step
        problems[step] = replay_problem(step)
        if not problems[step]:
            taken, is_whole = step, True
            break
    if not steps:
        return None
    if taken is None:
        raise errors.RunError(
            f"all checkpoints are damaged: {'; '.join(problems.values())}; --overwrite starts over"
        )
    for step, problem in problems.items():
        if problem and step >= taken:
            say(problem)
    newer = [step for step in steps if step > taken]
    if newer:
        say(f"resuming from the previous checkpoint, step {taken:,}")
    for step in newer:
        set_aside(directory, step)
    return taken, is_whole


def prune(
    directory: pathlib.Path, keep: int, best: Callable[[Sequence[int]], int | None]
) -> list[pathlib.Path]:
    """Deletes checkpoints that are neither new nor best, and what gave way to those that stay.

    What cannot be deleted is tried again the next time, and is in no other folder's way.

    Args:
      directory: of the checkpoints.
      keep: how many of the newest stay.
      best: picks the step of another that stays.

    Returns:
      The folders of the newest, in order.
    """
    steps = steps_in(directory)
    newest, best_step = steps[-keep:], best(steps)
    for step in steps:
        folder = directory / str(step)
        with contextlib.suppress(OSError):
            if step not in newest and step != best_step:
                checksums.delete(folder)
            elif replaced(folder).exists():
                checksums.delete(replaced(folder))
    for path in list(directory.glob(f"*{checksums.DELETED}")):
        shutil.rmtree(path, ignore_errors=True)  # what could not be deleted before
    return [directory / str(step) for step in newest]


def set_aside(directory: pathlib.Path, step: int) -> None:
    """Moves a checkpoint that cannot be used into a folder of its own, for study."""
    path = directory / str(step)
    aside = directory / _DAMAGED
    aside.mkdir(exist_ok=True)
    shutil.rmtree(aside / path.name, ignore_errors=True)
    path.rename(aside / path.name)
