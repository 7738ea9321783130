import os

# Before jax is imported anywhere: eight virtual devices, of which tests use one unless they say so.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax
import pytest

from jaxdqn.runtime import native

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(scope="session", autouse=True)
def _compiled_programs(tmp_path_factory):
    """Programs that tests start share what they compiled, and nothing outlives the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _native_functions():
    """Tests run what a program runs."""
    native.start(None)
    assert native.is_ready(), native.why_not()
