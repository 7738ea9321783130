"""The names of Gymnasium's environments, and which of their modules may be imported.

A name is `gymnasium:ID` for what Gymnasium itself registers, or `my_package.my_module:ID` for what
that module registers when it is imported, which is Gymnasium's own form.
"""

import importlib
import sys
from typing import Any

from jaxdqn import wording
from jaxdqn.envs import api

SOURCE = "Gymnasium"  # its name
_ITSELF = "gymnasium"


def parts(name: str) -> tuple[str, str] | None:
    """The module and the id of a name; None if it has another form."""
    module, colon, env_id = name.partition(":")
    is_module = all(map(str.isidentifier, module.split(".")))
    return (module, env_id) if colon and env_id and is_module else None


def resolve(name: str) -> str | None:
    """The name with its version, if it has the form of one and its environment is known.

    A name without a version means the latest. The environments of a module that is not imported yet
    count as known: see `load`.

    Raises:
      UnknownGameError: the module is imported and has no such environment.
    """
    found = parts(name)
    if found is None:
        return None
    module, env_id = found
    return f"{module}:{_entry(env_id).id}" if _is_imported(module) else name


def load(name: str) -> None:
    """Imports the module that a user's name asks for.

    Only the command line may ask for one. The folder of a run may come from a stranger, so it must
    not say which code runs.

    Raises:
      UnknownGameError: it cannot be imported.
    """
    found = parts(name)
    if found is None:
        return
    module, _ = found
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever somebody's module raises
        wording.show_own_failure(error, module)
        raise api.UnknownGameError(
            f"{module!r} of {name!r} cannot be imported: {wording.import_problem(error)}"
        ) from None


def entry(name: str) -> Any:
    """Gymnasium's entry of an environment, a `gymnasium.envs.registration.EnvSpec`.

    Raises:
      UnsupportedEnvError: its module is not imported, or has no such environment.
    """
    found = parts(name)
    if found is None:
        raise api.UnsupportedEnvError(f"Gymnasium has no {name}")
    module, env_id = found
    if not _is_imported(module):
        raise api.UnsupportedEnvError(
            f"{name} needs code of the module {module}; --plugins={module} imports it"
        )
    try:
        return _entry(env_id)
    except api.UnknownGameError as error:
        raise api.UnsupportedEnvError(str(error)) from None


def info(name: str) -> api.GameInfo:
    """What is known of a game before it is made."""
    # With the module: others may have an environment of the same id, and so does EnvPool.
    return api.GameInfo(plain_name=name.replace(":", "_").replace("/", "_"), source=SOURCE)


def all_ids() -> list[str]:
    """The names of all that Gymnasium itself registers."""
    import gymnasium

    return [f"{_ITSELF}:{env_id}" for env_id in gymnasium.registry]


def _is_imported(module: str) -> bool:
    return module == _ITSELF or module in sys.modules


def _entry(env_id: str) -> Any:
    import gymnasium
    from gymnasium.envs import registration

    try:
        namespace, name, version = registration.parse_env_id(env_id)
        if version is None:
            version = registration.find_highest_version(namespace, name)
            env_id = registration.get_env_id(namespace, name, version)
        return gymnasium.spec(env_id)
    except gymnasium.error.Error as error:
        raise api.UnknownGameError(f"Gymnasium: {error}") from None
