"""Agents in Python: `jaxdqn.load`."""

import re
import subprocess
import sys

import jax
import numpy as np
import pytest

import jaxdqn
from jaxdqn.playing import moments as moments_lib
from jaxdqn.rundir import trained_agent
from tests import program, saved

RUN = "runs/CartPole-cartpole-seed0"
CARTPOLE = {"frame_stack": 3, "hidden_sizes": (8,), "max_episode_steps": 20}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with runs."""
    path = tmp_path_factory.mktemp("loading")
    saved.make_run(path / RUN, "CartPole", CARTPOLE)
    return path


@pytest.fixture
def agent(place):
    return jaxdqn.load(place / RUN)


def test_the_documented_code_plays_and_reads_metrics(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    page = (program.ROOT / "docs" / "agents.md").read_text()
    played, valued, read = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    exec(played, {})
    assert capsys.readouterr().out == "500.0\n" * 3
    exec(valued, {})
    assert re.fullmatch(r"LEFT \d+\.\d\d\nRIGHT \d+\.\d\d\n", capsys.readouterr().out)
    exec(read, {})
    assert capsys.readouterr().out == "{10: 1.0, 20: 3.0, 30: 2.0}\n"


def test_it_is_the_agent_of_the_run(place, agent):
    assert (agent.step, agent.config.frame_stack, agent.spec.frame_shape) == (30, 3, (4,))
    assert jaxdqn.load(str(place / RUN), "best").step == 20
    assert jaxdqn.load(place / RUN, checkpoint=10).step == 10
    saved_run = trained_agent.load(place / RUN, "latest")
    program.assert_equal(agent.params, saved_run.params)


def moments(path):
    """The run's agent in three games, as films show it."""
    run = trained_agent.load(path, "latest")
    game = {"seed": 3, "num_episodes": 3, "with_screen": False}
    return list(moments_lib.play(run.config, run.spec, run.params, **game))


def test_it_acts_as_in_films(place, agent):
    seen = moments(place / RUN)
    is_first = True
    for moment in seen:
        assert agent.act(moment.stack[-1:], [is_first]).tolist() == [moment.action]
        is_first = moment.is_last


def test_it_values_actions_as_in_films(place, agent):
    for moment in moments(place / RUN)[:9]:
        values = agent.q_values(moment.stack[-1:])
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, [moment.q_values], rtol=1e-5)


def test_the_values_of_a_distribution_are_its_means():
    values = jaxdqn.load("CartPole-c51").q_values(np.zeros((3, 4)))
    assert values.shape == (3, 2) and np.all(values[0] == values)


def test_it_is_compiled_once(agent, caplog):
    with jax.log_compiles():
        for _ in range(3):
            agent.act(np.zeros((2, 4)))
    assert sum("Compiling jit(_act)" in told for told in caplog.messages) == 1


def test_games_of_a_batch_do_not_mix(place, agent):
    seen = moments(place / RUN)
    frames = np.array([moment.stack[-1] for moment in seen])
    both = [agent.act(pair) for pair in zip(frames[:9], frames[5:14], strict=True)]
    for game, first in enumerate((0, 5)):
        agent.reset()
        alone = [int(agent.act(frame[None])[0]) for frame in frames[first : first + 9]]
        assert [int(actions[game]) for actions in both] == alone


@pytest.mark.parametrize(
    ("observation", "is_first", "problem"),
    [
        (np.zeros(4, np.float32), None, r"shape \(4,\); must be \[E, 4\]"),
        (np.zeros((2, 3), np.float32), None, r"shape \(2, 3\); must be \[E, 4\]"),
        (np.float32(0), None, r"shape \(\); must be"),
        (
            np.zeros((3, 4), np.float32),
            None,
            r"3 observations and is_first has shape \(3,\) for 2 games",
        ),
        (np.zeros((2, 4)), [True], r"2 observations and is_first has shape \(1,\) for 2 games"),
        (np.zeros((2, 4)), True, r"is_first has shape \(\) for 2 games"),
    ],
)
def test_other_shapes_are_refused(agent, observation, is_first, problem):
    agent.act(np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match=problem):
        agent.act(observation, is_first)
    agent.reset()
    assert agent.act(np.zeros((3, 4))).shape == (3,)  # also of 64 bits


def test_a_refused_call_begins_no_games(place):
    two = jaxdqn.load(place / RUN), jaxdqn.load(place / RUN)
    with pytest.raises(ValueError, match="is_first"):
        two[0].act(np.ones((2, 4)), [True])
    frames = np.random.default_rng(0).normal(size=(20, 3, 4))
    assert [two[0].act(frame).tolist() for frame in frames] == [
        two[1].act(frame).tolist() for frame in frames
    ]


def test_frames_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="float32"):
        jaxdqn.load("Breakout").act(np.zeros((1, 84, 84), np.float32))


def test_what_is_no_agent_is_refused(place):
    for agent, checkpoint, problem in (
        (
            place / "runs",
            "latest",
            "^agent: is .*; must be the folder of a run, a built-in agent",
        ),
        (place / RUN, "7", "^checkpoint: is 7; .* has 10, 20, 30"),
        (place / RUN, -1, "^checkpoint: is '-1'; must be latest, best or one of"),
        ("CartPole", "best", "^checkpoint: is best; 'CartPole' is not the folder of a run"),
    ):
        with pytest.raises(ValueError, match=problem):
            jaxdqn.load(agent, checkpoint)
    with pytest.raises(AttributeError, match="'jaxdqn' has no attribute 'lode'"):
        jaxdqn.lode  # noqa: B018, to look it up is what raises


def test_importing_the_package_imports_no_jax():
    told = "import sys, jaxdqn; print([name for name in ('jax', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
