"""Environment variables that nobody can work with are one line, and those of JAX are remembered."""

import subprocess

import jax
import pytest

from jaxdqn import errors
from jaxdqn.rundir import layout
from jaxdqn.settings import presets
from tests import program, saved


def run(variables, *flags, name="train"):
    return subprocess.run(
        program.command(*flags, name=name),
        env=program.environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"JAX_PLATFORMS": "cuda"}, "JAX finds no device (JAX_PLATFORMS=cuda)"),
        ({"JAX_PLATFORMS": "abacus"}, "JAX finds no device (JAX_PLATFORMS=abacus): Unable to"),
        ({"JAX_ENABLE_X64": "perhaps"}, "JAX does not start: invalid truth value 'perhaps'"),
        ({"JAX_DISABLE_JIT": "1"}, "JAX_DISABLE_JIT is set; unset it"),
    ],
)
def test_variables_that_cannot_be(tmp_path, variables, message):
    result = run(variables, "--env=CartPole", "--preset=classic", f"--run_dir={tmp_path / 'run'}")
    assert result.returncode == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {message}")
    assert not list(tmp_path.iterdir())


def test_variables_that_do_not_matter(tmp_path):
    """EnvPool imports matplotlib, which would refuse a notebook's backend."""
    run_path = saved.make_run(tmp_path / "run", "CartPole", {}, returns=(9.0,))
    variables = {"MPLBACKEND": "nonsense", "JAX_NUMPY_DTYPE_PROMOTION": "strict", "CXX": " "}
    result = run(variables, f"--run_dir={run_path}", "--episodes=2", name="evaluate")
    assert result.returncode == 0 and result.stderr == ""


def test_settings_of_jax_belong_to_a_run(tmp_path):
    config = presets.resolve("CartPole", "classic", {})
    layout.create(tmp_path / "run", config)
    layout.check_same_jax(tmp_path / "run")
    told = (
        r"was started with the environment variable JAX_THREEFRY_PARTITIONABLE=True, and now it is"
    )
    with jax.threefry_partitionable(False):
        with pytest.raises(errors.SettingError, match=told):
            layout.check_same_jax(tmp_path / "run")
        layout.create(tmp_path / "other", config)
    with pytest.raises(errors.SettingError, match="JAX_THREEFRY_PARTITIONABLE=False"):
        layout.check_same_jax(tmp_path / "other")
