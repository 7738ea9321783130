"""The example of a head from outside the package."""

import runpy
import types

import jax
import jax.numpy as jnp
import numpy as np

from jaxdqn.agent.heads import api
from jaxdqn.settings import registries
from tests import program

EXAMPLES = program.ROOT / "examples"


def test_the_example_is_learned(tmp_path):
    flags = ("--env=CartPole", "--plugins=own_head", "--head=log_cosh", "--total_steps=8000")
    flags = (*flags, "--part_options=width=2")
    evaluation = program.last_evaluation(tmp_path / "run", *flags, cwd=EXAMPLES)
    assert evaluation["eval_return_mean"] > 60  # random play lasts for about 22 steps


def test_its_loss_is_the_logarithm_of_the_hyperbolic_cosine(monkeypatch):
    monkeypatch.setattr(registries, "HEADS", registries.registry.Registry("head"))
    make = runpy.run_path(str(EXAMPLES / "own_head.py"))["make"]
    head = make(types.SimpleNamespace(options={"width": 1.0}))

    def loss(number):
        # 1 + 0.5 * 4 = 3
        return head.loss(jnp.array([number]), None, 1.0, 0.5, jnp.array([4.0]))

    assert loss(3.0) == (0, 0)
    np.testing.assert_allclose(loss(1.0), (np.log(np.cosh(2)), 2), rtol=1e-6)
    np.testing.assert_allclose(loss(1003.0), (1000 - np.log(2), 1000), rtol=1e-6)
    slope = jax.grad(lambda number: loss(number)[0])
    np.testing.assert_allclose(slope(2.0), -np.tanh(1), rtol=1e-6)
    np.testing.assert_allclose(slope(1003.0), 1, rtol=1e-6)
    wide = make(types.SimpleNamespace(options={"width": 2.0}))
    found, _ = wide.loss(jnp.array([1.0]), None, 1.0, 0.5, jnp.array([4.0]))
    np.testing.assert_allclose(found, 4 * np.log(np.cosh(1)), rtol=1e-6)
    numbers = jnp.array([[2.0], [5.0]])
    assert head.values(api.Outputs(numbers)).tolist() == [2, 5]


def test_the_page_shows_the_example():
    for page, script in (("own-parts", "own_head"), ("own-environment", "own_environment")):
        _, _, code = (EXAMPLES / f"{script}.py").read_text().split('"""', maxsplit=2)
        assert code.strip() in (program.ROOT / "docs" / f"{page}.md").read_text()
