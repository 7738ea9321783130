"""Agents that are pushed to the Hub: the files are real, the Hub is not."""

import json
import typing

import huggingface_hub
import pytest

from jaxdqn import errors
from jaxdqn.exporting import model_card, publishing
from jaxdqn.rundir import agent_names, exported_agent
from tests import program, saved

CARTPOLE = {"hidden_sizes": (8,), "max_episode_steps": 20}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved.make_run(tmp_path_factory.mktemp("saved") / "run", "CartPole", CARTPOLE)


def test_a_folder_has_all_that_would_be_pushed(run, tmp_path):
    flags = ("publish", f"--run_dir={run}", "--checkpoint=best", f"--out={tmp_path / 'out'}")
    result = program.run(*flags)
    assert result.returncode == 0 and "step 20 of" in result.stdout, result.stderr
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"README.md", "policy.json", "policy.safetensors", "replay.mp4"}
    assert (tmp_path / "out" / "replay.mp4").stat().st_size > 1_000
    assert "--agent=FOLDER" in (tmp_path / "out" / "README.md").read_text()
    assert exported_agent.load(tmp_path / "out").step == 20
    assert program.run(*flags).returncode == 2  # it exists
    again = program.run(*flags, "--overwrite", "--nofilm")
    assert again.returncode == 0, again.stderr
    assert not (tmp_path / "out" / "replay.mp4").exists()
    agent = program.run(
        *("evaluate", f"--agent={tmp_path / 'out'}", "--episodes=4", "--protocol=greedy", "--json")
    )
    own = program.run(
        *("evaluate", f"--run_dir={run}", "--checkpoint=best", "--episodes=4"),
        *("--protocol=greedy", "--json"),
    )
    assert json.loads(agent.stdout)["returns"] == json.loads(own.stdout)["returns"]


@pytest.mark.parametrize("name", agent_names.built_in())
def test_agents_of_the_package_have_the_cards_that_would_be_written(name):
    folder = agent_names.folder(name)
    card = (folder / "README.md").read_text()
    assert card == model_card.write(json.loads((folder / "policy.json").read_text()))
    assert "`policy.safetensors` holds the parameters of a network that takes observations" in card
    assert ("EnvPool options: none." in card) == (name != "Breakout")


@pytest.mark.parametrize("flags", [(), ("--repository=CartPole",), ("--repository=a/b/c",)])
def test_without_a_name_nothing_is_pushed(run, flags):
    result = program.run("publish", f"--run_dir={run}", *flags)
    assert result.returncode == 2
    assert result.stderr == (
        "error: --repository: must be USER/NAME; or name a folder with --out\n"
    )


class Hub:
    """Stands for the Hub's client; notes what it is asked."""

    asked: typing.ClassVar = []
    holds: typing.ClassVar = {
        "me/Story": [".gitattributes", "README.md"],
        "me/CartPole": [".gitattributes", "README.md", "policy.json"],
        "me/Empty": [".gitattributes"],
    }

    def repo_exists(self, repository):
        return repository in self.holds

    def list_repo_files(self, repository):
        return self.holds[repository]

    def create_repo(self, repository, *, private, exist_ok):
        self.asked.append(("create", repository, private, exist_ok))
        return f"https://huggingface.co/{repository}"

    def upload_folder(self, *, repo_id, folder_path, delete_patterns, commit_message):
        assert "replay.mp4" in delete_patterns
        self.asked.append(("upload", repo_id, sorted(path.name for path in folder_path.iterdir())))


@pytest.mark.parametrize("name", ["me/New", "me/Empty", "me/CartPole"])
def test_a_folder_is_pushed(monkeypatch, tmp_path, name):
    """Also after a push that failed when the repository was created."""
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    Hub.asked.clear()
    (tmp_path / "policy.json").touch()
    address = publishing.push(tmp_path, name, private=True)
    assert address == f"https://huggingface.co/{name}"
    assert Hub.asked == [("create", name, True, True), ("upload", name, ["policy.json"])]


def test_what_is_no_agent_is_not_replaced(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    Hub.asked.clear()
    with pytest.raises(errors.RunError, match="me/Story cannot be pushed: it exists and holds no"):
        publishing.push(tmp_path, "me/Story", private=False)
    assert not Hub.asked


def test_a_refusal_of_the_hub_is_one_line(monkeypatch, tmp_path):
    class Refusing(Hub):
        def create_repo(self, *_, **__):
            raise PermissionError("401 Unauthorized\nlog in first")

    monkeypatch.setattr(huggingface_hub, "HfApi", Refusing)
    with pytest.raises(errors.RunError, match=r"^me/X cannot be pushed: 401 Unauthorized$"):
        publishing.push(tmp_path, "me/X", private=False)
