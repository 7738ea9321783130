import gc
import os

# Before jax is imported anywhere: eight virtual devices, of which tests use one unless they say so.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import filelock
import jax
import pytest

from jaxdqn.assembly import compilation_cache
from jaxdqn.cli import devices
from jaxdqn.kernels import native_library

jax.config.update("jax_numpy_rank_promotion", "raise")
# As in the programs: tracing makes many objects and next to no garbage.
gc.set_threshold(100_000)

# Modules whose tests take longest, from the longest on. They come first, so that both workers end
# at about the same time.
_LONGEST = (
    *("test_processes", "test_resume", "test_benchmarks", "test_envs", "test_sweep"),
    *("test_launch", "test_examples", "test_terminal", "test_run", "test_train"),
    *("test_environments", "test_recording", "test_tutorials", "test_programs"),
    *("test_learner", "test_compilation_cache", "test_wrong_usage", "test_paths"),
)


@pytest.hookimpl(tryfirst=True)  # before xdist looks for the groups
def pytest_collection_modifyitems(items):
    """Marks the tests that run programs, and shares tests out to the workers.

    One worker gets all tests of a module, or of a long one those that share fixtures.
    """
    order = {name: place for place, name in enumerate(_LONGEST)}
    places = {}
    for item in items:
        if hasattr(item.module, "program"):
            item.add_marker("programs")
        group = item.module.__name__
        place = order.get(group.rpartition(".")[2], len(order))
        fixtures = item._fixtureinfo.name2fixturedefs.values()
        is_alone = place < len(order) and all(found[-1].scope != "module" for found in fixtures)
        if is_alone:
            group += f".{item.originalname}"
        item.add_marker(pytest.mark.xdist_group(group))
        places[item] = (place, is_alone)
    items.sort(key=places.get)


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(scope="session", autouse=True)
def _what_is_compiled(tmp_path_factory):
    """Tests run what programs run, and all share what was compiled; nothing outlives the tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the workers have folders of their own in it
    cache = folder / "cache"
    os.environ["XDG_CACHE_HOME"] = str(cache)
    cache.mkdir(exist_ok=True)
    with filelock.FileLock(folder / "cache.lock"):  # one worker builds the C++, the others wait
        compilation_cache.use_cache(devices.cache_dir("compiled"))
        assert native_library.is_ready(), native_library.why_not()
    # Programs keep the newest of theirs alone, and take none that is for eight devices.
    jax.config.update("jax_compilation_cache_dir", str(cache / "tests"))
    gc.freeze()
