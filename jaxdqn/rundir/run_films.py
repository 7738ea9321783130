"""The films of a run, each under the step at which it was made."""

import pathlib

from jaxdqn import errors
from jaxdqn.rundir import layout


def path_of(directory: pathlib.Path, step: int) -> pathlib.Path:
    """Where a run has the film of a step."""
    return directory / layout.VIDEOS / f"{step}.mp4"


def drop_after(directory: pathlib.Path, step: int) -> None:
    """Deletes the films of later steps, which a run that resumes at this step makes again.

    Raises:
      RunError: one cannot be deleted.
    """
    for path in (directory / layout.VIDEOS).glob("*.mp4"):
        if path.stem.isdecimal() and int(path.stem) > step:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise errors.RunError(f"{path} cannot be deleted: {error.strerror}") from None
