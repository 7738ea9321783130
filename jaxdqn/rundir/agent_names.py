"""What `--agent` and `--initial_agent` can name.

The name of an agent that comes with the package, the folder of an export, or `hf:USER/NAME`, a
repository of the Hugging Face Hub.
"""

import difflib
import pathlib
import types

from jaxdqn import errors, extras, wording
from jaxdqn.rundir import exported_agent
from jaxdqn.storage import home

BUILT_IN = pathlib.Path(__file__).parents[1] / "agents"
_HUB = "hf:"


def built_in() -> list[str]:
    """The names of the agents that come with the package, sorted."""
    return sorted(path.name for path in BUILT_IN.iterdir() if exported_agent.is_export(path))


def folder(name: str, setting: str = "agent") -> pathlib.Path:
    """The folder of an agent; that of a repository is downloaded.

    Args:
      name: what the user typed.
      setting: the flag that names it.

    Raises:
      SettingError: there is none of this name.
      RunError: it cannot be downloaded.
    """
    found = find(name, setting)
    if found is None:
        raise errors.SettingError(setting, f"is {name!r}; must be {choices(name)}")
    return found


def find(name: str, setting: str = "agent") -> pathlib.Path | None:
    """The same; None if there is none of this name."""
    if name.startswith(_HUB):
        return _downloaded(name.removeprefix(_HUB))
    if name in built_in():
        return BUILT_IN / name
    path = home.expanded(setting, name)
    return path if exported_agent.is_export(path) else None


def choices(name: str) -> str:
    """What could be meant by a name that is none."""
    near = difflib.get_close_matches(name, built_in(), n=3, cutoff=0.3) or built_in()
    return (
        f"a built-in agent (nearest: {', '.join(near)}), the folder of an export, or hf:USER/NAME"
    )


def hub() -> types.ModuleType:
    """The library of the Hugging Face Hub.

    Raises:
      RunError: it is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise errors.RunError(
            f"the Hugging Face Hub needs more packages ({error}): {extras.installation('hub')}"
        ) from None
    return huggingface_hub


def portable(name: str) -> str:
    """A name as others may see it: of a folder, only the last part."""
    return name if name.startswith(_HUB) else pathlib.PurePath(name).name


def _downloaded(repository: str) -> pathlib.Path:
    """The folder of a repository, with nothing but parameters, settings and the card."""
    library = hub()
    name, _, revision = repository.partition("@")
    files = [exported_agent.POLICY_FILE, exported_agent.PARAMETERS_FILE, "README.md"]
    try:
        return pathlib.Path(
            library.snapshot_download(name, revision=revision or None, allow_patterns=files)
        )
    except Exception as error:  # of the library, of HTTP, of a proxy, of the disk
        raise errors.RunError(
            f"hf:{repository} cannot be downloaded: {wording.first_line(error)}"
        ) from None
