"""Pushes a trained agent to the Hugging Face Hub."""

import pathlib

from jaxdqn import errors, wording
from jaxdqn.exporting import export
from jaxdqn.playing import recording
from jaxdqn.rundir import agent_names, exported_agent, trained_agent

FILM = "replay.mp4"  # the name that the Hub shows on an agent's page


def prepare(agent: trained_agent.SavedAgent, out: pathlib.Path, *, with_film: bool) -> str:
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
            agent,
            out=out / FILM,
            sheet=None,
            with_overlay=False,
            seed=0,
            num_episodes=1,
            longest_s=recording.LONGEST_S,
        )
    except errors.RunError as error:
        return str(error)
    return ""


def push(folder: pathlib.Path, repository: str, *, private: bool) -> str:
    """Creates a repository, or replaces the agent in it, and returns its address.

    Args:
      folder: of `prepare`.
      repository: USER/NAME.
      private: whether others may not see a new repository.

    Raises:
      RunError: it cannot be pushed.
    """
    client = agent_names.hub().HfApi()
    try:
        files = client.list_repo_files(repository) if client.repo_exists(repository) else []
        if {*files} - {".gitattributes"} and exported_agent.POLICY_FILE not in files:
            # A mistyped name would replace the card of something else.
            raise errors.RunError("it exists and holds no agent of jaxdqn; choose another name")
        address = client.create_repo(repository, private=private, exist_ok=True)
        client.upload_folder(
            repo_id=repository,
            folder_path=folder,
            delete_patterns=[FILM, "policy.*"],  # those of an earlier agent
            commit_message="Upload an agent of jaxdqn",
        )
    except Exception as error:  # of the library, of HTTP, of the disk
        raise errors.RunError(
            f"{repository} cannot be pushed: {wording.first_line(error)}"
        ) from None
    return str(address)
