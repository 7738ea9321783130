"""The folders of a run's checkpoints: their names, and what a killed process leaves of them."""

import contextlib
import pathlib
import shutil
from collections.abc import Callable

from jaxdqn import errors
from jaxdqn.storage import checksums

_DAMAGED, _REPLACED = "damaged", ".replaced"
_IS_UNFINISHED = "orbax-checkpoint-tmp"  # in names


def steps_in(directory: pathlib.Path) -> list[int]:
    """The agent steps of the checkpoints in a folder, in order; none where there is none.

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
    """What gives way to a folder, once that is whole."""
    return folder.with_name(f"{folder.name}{_REPLACED}")


def bring_back(folder: pathlib.Path) -> None:
    """Deletes what was being written as this folder, for what gave way to it."""
    for path in folder.parent.glob(f"{folder.name}.{_IS_UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        checksums.delete(folder)
    with contextlib.suppress(OSError):
        replaced(folder).rename(folder)


def tidy(directory: pathlib.Path, say: Callable[[str], None]) -> None:
    """Sees to what was being written when a process was killed.

    Raises:
      RunError: another version wrote the checkpoints.
    """
    for path in list(directory.glob("*")):
        if _IS_UNFINISHED in path.name or path.name.endswith(checksums.DELETED):
            shutil.rmtree(path)
    for path in list(directory.glob(f"*{_REPLACED}")):
        folder = path.with_name(path.name.removesuffix(_REPLACED))
        if checksums.is_signed(folder):
            checksums.delete(path)
            continue
        if folder.exists():
            checksums.delete(folder)
        path.rename(folder)
    for path in list(directory.glob("*")):
        if path.name.isdecimal() and not checksums.is_signed(path):
            if not (path / "play").exists() and not steps_in(directory):
                raise errors.RunError(f"{path} is of another version, which does not go on here")
            say(checksums.problem(path))
            set_aside(directory, int(path.name))


def newest(
    directory: pathlib.Path, replay_problem: Callable[[int], str], say: Callable[[str], None]
) -> tuple[int, bool] | None:
    """The newest checkpoint that is as it was written; newer ones are moved out of the way.

    Args:
      directory: with the checkpoints.
      replay_problem: tells what is wrong with the replay of a step's.
      say: told what is wrong with those that are not taken.

    Returns:
      Its step, and whether its replay is as it was written too: without that it is taken where no
      other is whole. None where there are no checkpoints.

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
            f"all checkpoints are damaged: {'; '.join(problems.values())}; --overwrite starts anew"
        )
    for step, problem in problems.items():
        if problem and step >= taken:
            say(problem)
    newer = [step for step in steps if step > taken]
    if newer:
        say(f"going on from the checkpoint before, of step {taken:,}")
    for step in newer:
        set_aside(directory, step)
    return taken, is_whole


def set_aside(directory: pathlib.Path, step: int) -> None:
    """Moves a checkpoint that cannot be used where it is in nobody's way, for study."""
    path = directory / str(step)
    aside = directory / _DAMAGED
    aside.mkdir(exist_ok=True)
    shutil.rmtree(aside / path.name, ignore_errors=True)
    path.rename(aside / path.name)
