"""What a search may choose from, as its file says."""

import optuna
import pytest

from jaxdqn import errors
from jaxdqn.settings import presets
from launch import search_space
from tests.launch.searches import SPACE, space_of


def test_a_space_has_the_kinds_of_its_settings(tmp_path):
    space = space_of(tmp_path, SPACE)
    assert space == {
        "learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
        "batch_size": optuna.distributions.IntDistribution(32, 128, step=32),
        "hidden_sizes": optuna.distributions.CategoricalDistribution(["16", "32,32"]),
        "double_q": optuna.distributions.CategoricalDistribution([True, False]),
    }
    params = {"learning_rate": 1e-3, "hidden_sizes": "32,32", "double_q": False}
    params |= {"initial_agent": "hf:User/Name", "epsilon_decay_from_step": None}
    expected = ["learning_rate=0.001", "hidden_sizes=32,32", "double_q=false"]
    expected += ["initial_agent=hf:User/Name", "epsilon_decay_from_step=none"]
    assert search_space.typed(params) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names no settings"),
        ("a = ", "cannot be read"),
        ("rate = [1]", "rate is not a setting of jaxdqn.train"),
        ("seed = [1, 2]", "seed cannot be searched"),
        ("n_step = 3", "n_step: must be a list of values, or"),
        ("n_step = []", "n_step: must be a list of values, or"),
        ("n_step = {low = 1}", "n_step: must be a list of values, or"),
        ("n_step = {low = 1, high = 3, lag = 1}", "n_step: must be a list of values, or"),
        ("n_step = {low = 3, high = 1}", "n_step: "),
        ("n_step = {low = 0, high = 3}", "n_step is 0; must be at least 1"),
        ("n_step = [1, 2.5]", "n_step cannot be 2.5"),
        ("head = ['c51', 'c52']", "head is c52; must be one of"),
        ("hidden_sizes = ['16,x']", "must be whole numbers separated by commas"),
        ("double_q = ['yes']", "double_q cannot be 'yes'"),
        ("double_q = {low = false, high = true}", "double_q: must be a list of values"),
        ("n_step = {low = 1, high = 5, step = 1.5}", "n_step: step must be a whole number"),
        ("n_step = {low = 1, high = 5, log = 'yes'}", "n_step: log must be true or false"),
        ("hidden_sizes = [[64, 64]]", r'cannot be \[64, 64\]; must be text, such as "64,64"'),
    ],
)
def test_a_wrong_space_is_refused(tmp_path, text, told):
    with pytest.raises(errors.SettingError, match=told):
        space_of(tmp_path, text)


def test_a_start_may_lie_on_any_step(tmp_path):
    space = space_of(tmp_path, "trace_decay = { low = 0.0, high = 1.0, step = 0.1 }")
    settings = presets.resolve("CartPole", "classic_pqn", {"trace_decay": 0.3})
    assert search_space.start(space, settings) == {"trace_decay": 0.3}
    settings = presets.resolve("CartPole", "classic_pqn", {"trace_decay": 0.35})
    assert search_space.start(space, settings) == {}
