"""Imports ale-py on first use; explains in one line if it is missing."""

from types import ModuleType

from jaxdqn import extras, wording
from jaxdqn.envs import api


def module() -> ModuleType:
    """`ale_py`, imported when it is first asked for.

    Raises:
      UnsupportedEnvError: it is not installed, or cannot be imported.
    """
    try:
        import ale_py
    except Exception as error:  # it has a library of its own, which may fail in other ways
        problem = wording.import_problem(error)
        raise api.UnsupportedEnvError(
            f"needs the package ale-py ({problem}): {extras.installation('ale')}"
        ) from None
    return ale_py


def is_installed() -> bool:
    """Whether it can be imported."""
    try:
        module()
    except api.UnsupportedEnvError:
        return False
    return True
