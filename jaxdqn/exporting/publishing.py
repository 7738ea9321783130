"""Pushes a trained agent to the Hugging Face Hub."""

import importlib.util
import pathlib

from jaxdqn import errors
from jaxdqn.exporting import export
from jaxdqn.playing import recording
from jaxdqn.rundir import exported_agent, trained_agent

FILM = "replay.mp4"  # the name that the Hub shows on an agent's page


def check_installed() -> None:
    """Checks that the library of the Hub is there, before anything is made.

    Raises:
      RunError: it is not.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise errors.RunError(
            "publishing needs huggingface_hub; install the extra 'hub': pip install -e '.[hub]'"
        )


def prepare(agent: trained_agent.SavedRun, out: pathlib.Path, *, with_film: bool) -> str:
    """Writes what is pushed into a folder: parameters, settings, card, and a film of a game.

    Returns:
      Why there is no film, although one was asked for; '' if there is one.

    Raises:
      RunError: it cannot be written.
    """
    export.export(agent, exported_agent.KIND, out)
    if not with_film:
        return ""
    try:
        recording.record(
            agent, out=out / FILM, sheet=None, with_overlay=False, seed=0, num_episodes=1
        )
    except errors.RunError as error:
        return str(error)
    return ""


def push(folder: pathlib.Path, repository: str, *, private: bool) -> str:
    """Creates a repository, if it is not there, and pushes a folder to it; returns its address.

    Args:
      folder: of `prepare`.
      repository: USER/NAME.
      private: whether others may not see a new repository.

    Raises:
      RunError: it cannot be pushed.
    """
    import huggingface_hub

    hub = huggingface_hub.HfApi()
    try:
        address = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            delete_patterns=[FILM, "policy.*"],  # those of an earlier agent
            commit_message="Upload an agent of jaxdqn",
        )
    except Exception as error:  # of the library, of HTTP, of the disk
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise errors.RunError(f"{repository} cannot be pushed: {reason}") from None
    return str(address)
