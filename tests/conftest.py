import os

# Before jax is imported anywhere: eight virtual devices, of which tests use one unless they say so.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax
import pytest

from jaxdqn.kernels import native_library

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_modifyitems(items):
    """Marks the tests that run programs, which take most of the time."""
    for item in items:
        if hasattr(item.module, "program"):
            item.add_marker("programs")


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(scope="session", autouse=True)
def _compiled_programs(tmp_path_factory):
    """Tests and the programs they start share what they compiled; nothing outlives the tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the workers have folders of their own in it
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    jax.config.update("jax_compilation_cache_dir", str(folder / "cache" / "tests"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


@pytest.fixture(scope="session", autouse=True)
def _native_functions():
    """Tests run what a program runs."""
    native_library.start(None)
    assert native_library.is_ready(), native_library.why_not()
