"""Agents that are read from an export, by whatever name."""

import json
import shutil

import huggingface_hub
import jax
import numpy as np
import pytest
import safetensors.numpy

from jaxdqn import errors
from jaxdqn.envs import api
from jaxdqn.exporting import export
from jaxdqn.playing import scoring
from jaxdqn.rundir import agent_names, exported_agent
from tests import saved

AGENTS = {
    "plain": ("CartPole", {"hidden_sizes": (8,), "reward_scale": 0.5}),
    "noisy": ("Catch", {"hidden_sizes": (8,), "head": "c51", "num_atoms": 11, "noisy": True}),
}
SCORES = {"return_mean": 2.0, "return_std": 1.0, "episodes": 9}


@pytest.fixture(scope="module", params=AGENTS)
def agent(request):
    return saved.make_agent(*AGENTS[request.param])


@pytest.fixture(scope="module")
def exported(agent, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "out"
    export.export(agent, "safetensors", out)
    return out


@pytest.fixture
def folder(exported, tmp_path):
    """A copy, which a test may change."""
    shutil.copytree(exported, tmp_path / "out")
    return tmp_path / "out"


def test_it_is_the_agent_that_was_exported(agent, folder):
    found = exported_agent.load(folder)
    jax.tree.map(np.testing.assert_array_equal, found.params, agent.params)
    assert (found.config, found.spec, found.step) == (agent.config, agent.spec, agent.step)
    assert (found.path, found.evaluation) == (folder, agent.evaluation)


def change(folder, **changes):
    described = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps(described | changes))
    return described


def test_what_was_scored_is_told(agent, folder):
    described = change(folder, scores=SCORES)
    assert exported_agent.load(folder).evaluation == {
        "step": described["checkpoint"],
        "eval_return_mean": 2.0,
        "eval_return_std": 1.0,
        "eval_episodes": 9,
    }


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: change(path, policy={"kind": "onnx"}), "holds onnx, version 1; needed: safe"),
        (lambda path: change(path, format_version=2), "version 2; needed: safetensors, 1"),
        (lambda path: change(path, settings={"n_step": 0}), "no agent that can be used: --n_step"),
        (lambda path: change(path, settings={"later": 1}), "the setting later is not one of this"),
        (lambda path: change(path, settings=[]), "no agent that can be used"),
        (lambda path: change(path, checkpoint=np.inf), "no agent that can be used"),
        (lambda path: change(path, scores=SCORES | {"return_mean": "two"}), "that can be used"),
        (lambda path: change(path, scores=SCORES | {"return_std": np.nan}), "not finite"),
        (lambda path: change(path, scores=SCORES | {"episodes": None}), "that can be used"),
        (lambda path: (path / "policy.json").write_text("[" * 10**5), "no agent that can be used"),
        (lambda path: (path / "policy.json").write_text("[]"), "no agent that can be used"),
        (lambda path: (path / "policy.json").unlink(), "no agent that can be used"),
        (lambda path: (path / "policy.safetensors").unlink(), "policy.safetensors cannot be read"),
        (lambda path: (path / "policy.safetensors").write_bytes(b"no"), "cannot be read"),
    ],
)
def test_a_damaged_one_is_refused(folder, damage, problem):
    damage(folder)
    with pytest.raises(errors.RunError, match=problem):
        exported_agent.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "[" * 10**5, '{"format": 1}'])
def test_what_is_no_export(tmp_path, text):
    (tmp_path / "policy.json").write_text(text)
    assert not exported_agent.is_export(tmp_path)


def test_parameters_of_another_network_are_refused(folder):
    path = folder / "policy.safetensors"
    named = safetensors.numpy.load_file(path)
    name = next(iter(named))
    safetensors.numpy.save_file(named | {name: named[name][:1]}, path)
    with pytest.raises(errors.RunError, match=f"does not belong to its settings: {name} has shape"):
        exported_agent.load(folder)


def test_differences_are_named():
    one = {"params": {"a": {"kernel": np.zeros((2, 3))}, "b": np.zeros(())}}
    other = {"params": {"a": {"kernel": np.zeros((2, 4))}, "c": np.zeros(1)}}
    assert exported_agent.differences(one, one) == []
    assert exported_agent.differences(one, other) == [
        "a/kernel: 2x3 and 2x4",
        "b: a number and none",
        "c: none and 1",
    ]


def test_an_agent_has_many_names(folder, monkeypatch):
    assert agent_names.folder(str(folder)) == folder
    asked = []

    def download(repository, **options):
        asked.append((repository, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert agent_names.folder("hf:somebody/CartPole@v2") == folder
    ((repository, options),) = asked
    assert (repository, options["revision"]) == ("somebody/CartPole", "v2")
    # Nothing that could run.
    assert sorted(options["allow_patterns"]) == ["README.md", "policy.json", "policy.safetensors"]


def test_wrong_names_are_refused_in_a_line(monkeypatch, tmp_path):
    with pytest.raises(errors.SettingError, match=r"--initial_agent: is 'CartPol'.*CartPole"):
        agent_names.folder("CartPol", "initial_agent")
    with pytest.raises(errors.SettingError, match="the folder of an export, or hf:USER/NAME"):
        agent_names.folder(str(tmp_path))
    with pytest.raises(errors.SettingError, match="--agent: ~typo/x: this home directory does not"):
        agent_names.folder("~typo/x")
    with pytest.raises(errors.RunError, match="hf:a/b/c cannot be downloaded: "):
        agent_names.folder("hf:a/b/c")

    def fail(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(errors.RunError, match=r"^hf:a/b cannot be downloaded: no route$"):
        agent_names.folder("hf:a/b")


@pytest.mark.parametrize("name", agent_names.built_in())
def test_an_agent_of_the_package_scores_what_its_card_says(name):
    """Anew, with other seeds; the means of both have standard errors."""
    agent = exported_agent.load(agent_names.folder(name))
    told, games = agent.evaluation, 10 if agent.spec.game.family == api.ATARI else 40
    returns = np.array(scoring.score(agent, "run", games, seed=1_000)["returns"])
    error = np.hypot(
        told["eval_return_std"] / np.sqrt(told["eval_episodes"]), returns.std() / np.sqrt(games)
    )
    assert abs(returns.mean() - told["eval_return_mean"]) <= max(3 * error, 1e-3)
