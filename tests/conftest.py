import gc
import os

from tests import xla_flags

# Before jax is imported anywhere: eight virtual devices, of which tests use one unless they say so.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
    (os.environ.get("XLA_FLAGS", ""), xla_flags.devices(8), xla_flags.QUICKLY)
)

import filelock
import jax
import pytest
from xdist import scheduler

from jaxdqn.assembly import compilation_cache
from jaxdqn.cli import devices
from jaxdqn.kernels import native_library

jax.config.update("jax_numpy_rank_promotion", "raise")
# As in the programs: tracing makes many objects and next to no garbage.
gc.set_threshold(100_000)

# Modules whose tests take longest, from the longest on. They come first, so that both workers end
# at about the same time.
_LONGEST = (
    *("test_processes", "test_benchmarks", "test_sweeps", "test_published_runs", "test_resume"),
    "test_launch",
    *("test_train", "test_envs", "test_search", "test_notebook", "test_own_environment"),
    *("test_examples", "test_encoders", "test_exported_agent", "test_reporting"),
    *("test_convolution", "test_replayed", "test_exporting", "test_tutorials", "test_sweep"),
    *("test_return_distributions", "test_ring", "test_wrong_usage", "test_time_to_score"),
    *("test_published", "test_device_programs", "test_inspection", "test_programs"),
    "test_plugins",
)
# Their tests of ten seconds or more that share no expensive fixture with others. Some of them wait
# for a clock, while the other worker computes.
_APART = {
    *("test_a_run_goes_on_with_other_numbers_of_processes", "test_two_processes_learn_cartpole"),
    "test_one_device_and_two_processes_give_the_same_update",
    "test_a_process_that_stands_still_is_noticed",
    "test_a_film_of_one_process_is_cut_short_for_another",
    "test_a_fit_that_was_stopped_goes_on_where_it_stood",
    "test_a_second_process_is_refused",
    "test_what_is_not_finite_stops_the_run_before_it_spoils_anything",
    *("test_a_signal_is_heard_while_environments_hang", "test_a_run_passes_2_to_the_32_steps"),
    *("test_evaluations_that_are_not_finite_count", "test_without_its_replay_a_run_fills_it_again"),
    *("test_peers", "test_scaling_over_devices", "test_startup", "test_endurance"),
    *("test_throughput", "test_collectives_of_two_processes"),
    "test_wrong_usage_is_refused_in_one_line_before_anything_is_measured",
    "test_rebuilt_stacks_equal_envpools_own",
    "test_every_environment_is_described_or_refused_in_a_line",
    "test_a_run_sweeps_fits_and_empties_its_memory",
    "test_a_sweep_ends_with_all_runs_though_one_was_killed",
}
# And those whose every case stands alone.
_EACH_APART = {
    *("test_a_preset_trains_and_is_exported", "test_catch_is_learned"),
    "test_a_run_compiles_for_an_accelerator",
}


def pytest_collection_modifyitems(items):
    """Marks the tests that run programs, and puts those of long modules first."""
    order = {name: place for place, name in enumerate(_LONGEST)}
    for item in items:
        if hasattr(item.module, "program"):
            item.add_marker("programs")
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


class _Sharing(scheduler.LoadScopeScheduling):
    """Has one worker run all tests of a module, but for those that stand apart."""

    def _split_scope(self, nodeid):
        module, _, test = nodeid.partition("::")
        name = test.partition("[")[0]
        if name in _EACH_APART:
            return nodeid
        return f"{module}::{name}" if name in _APART else module


@pytest.hookimpl(optionalhook=True)  # of xdist
def pytest_xdist_make_scheduler(config, log):
    return _Sharing(config, log)


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
