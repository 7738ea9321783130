"""What is checked and decided before a run writes anything."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from jaxdqn import errors
from jaxdqn.assembly import env_spec, memory
from jaxdqn.checkpointing import checkpoint_folders, run_item
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.distributed import processes
from jaxdqn.envs import api, registry
from jaxdqn.playing import moments as moments_lib
from jaxdqn.rundir import layout, provenance
from jaxdqn.settings import checks
from jaxdqn.settings import config as config_lib
from jaxdqn.training import checkpoint_state, initial_agent, working_memory


class Setup(NamedTuple):
    """A run that is ready to start."""

    config: config_lib.Config  # with a replay that fits
    spec: api.EnvSpec
    mesh: Mesh
    path: pathlib.Path  # the run directory
    overwrite: bool
    asked_capacity: int  # of the replay, before it was made to fit
    free_device_bytes: int  # before the run takes its share
    free_host_bytes: int
    initial_params: Any | None = None  # of the network, if it does not begin with random ones


def prepare(
    config: config_lib.Config,
    *,
    path: pathlib.Path | None,
    overwrite: bool,
    capacity_chosen_by_user: bool,
) -> Setup:
    """Checks everything that can be checked before anything is written.

    Args:
      config: settings that fit each other.
      path: the run directory; None for the default one.
      overwrite: whether to replace a run that is already there.
      capacity_chosen_by_user: if it does not fit, a replay of the user's size is refused; one of
        a preset's size shrinks.

    Raises:
      SettingError: names the invalid setting.
      RunError: the run does not fit into the memory that is free now.
    """
    mesh = mesh_lib.make_mesh()
    _check_shares(mesh)
    check_division(config, mesh.devices.size)
    spec = env_spec.describe(config)
    path = path or layout.default_path(config)
    stored, saved_steps, was_complete = processes.from_primary(
        lambda: _on_disk(path, config.total_steps)  # others may see an older state of a network's
    )
    if overwrite:
        stored = None
    if stored is None:
        check_effects(config, spec)
        check_films(config)
    else:
        config = _as_begun(config, path, stored, saved_steps, capacity_chosen_by_user)
        processes.from_primary(lambda: layout.check_same_jax(path))
        capacity_chosen_by_user = True  # when the run began
    free_bytes = memory.free_device_bytes(mesh)
    fitted = config
    if stored is None or not was_complete:
        is_new = stored is None
        fitted = _fitted(config, spec, mesh, free_bytes, capacity_chosen_by_user, path, is_new)
    begins = overwrite or not saved_steps
    initial_params = initial_agent.parameters(config, spec) if begins else None
    _check_agreement(fitted, overwrite, initial_agent.digest(initial_params))
    return Setup(
        config=fitted,
        spec=spec,
        mesh=mesh,
        path=path,
        overwrite=overwrite,
        asked_capacity=config.replay_capacity,
        free_device_bytes=free_bytes,
        free_host_bytes=memory.free_host_bytes(),
        initial_params=initial_params,
    )


def _check_shares(mesh: Mesh) -> None:
    """Refuses processes that have different numbers of devices.

    Raises:
      SettingError: they have.
    """
    if len(mesh.local_devices) * processes.count() != mesh.devices.size:
        raise errors.SettingError(
            "num_processes",
            f"{processes.count()} processes cannot share {mesh.devices.size} devices equally: this "
            f"one has {len(mesh.local_devices)}",
        )


def _on_disk(path: pathlib.Path, total_steps: int) -> tuple[dict[str, Any] | None, list[int], bool]:
    """The stored settings of a run, the steps of its checkpoints, and whether it is complete.

    The newest checkpoint of a complete run leaves nothing to learn, and so needs no replay.

    Raises:
      SettingError: something else is there, or it cannot be written.
      RunError: it cannot be read now.
    """
    stored = layout.read_settings(path)
    layout.check_writable(path)
    directory = path / layout.CHECKPOINTS
    steps = checkpoint_folders.steps_in(directory)
    is_complete = False
    if max(steps, default=0) >= total_steps:
        with contextlib.suppress(errors.RunError):
            run = run_item.read(directory / str(steps[-1]))
            is_complete = checkpoint_state.was_complete(run, total_steps)
    return stored, steps, is_complete


def _fitted(
    config: config_lib.Config,
    spec: api.EnvSpec,
    mesh: Mesh,
    free_bytes: int,
    capacity_chosen_by_user: bool,
    path: pathlib.Path,
    is_new: bool,
) -> config_lib.Config:
    """The settings with a replay that fits into memory.

    Raises:
      SettingError: names what is too large, whatever else uses the memory.
      RunError: it is too large for what is free now, and may fit later.
    """

    def fit(some_bytes: int) -> config_lib.Config:
        memory.check_network(config, spec, some_bytes)
        return memory.fit_replay(
            config,
            spec,
            some_bytes,
            capacity_chosen_by_user,
            lambda config: working_memory.needed_bytes(config, spec, mesh),
        )

    try:
        return fit(free_bytes)
    except errors.SettingError as error:
        problem = error
    if is_new:
        try:
            fit(memory.total_device_bytes(mesh))
        except errors.SettingError:
            raise problem from None
    # One that is resumed did fit when it began.
    does = "begin" if is_new else "be resumed"
    raise errors.RunError(f"{path} cannot {does} now: {problem}")


def _as_begun(
    config: config_lib.Config,
    path: pathlib.Path,
    stored: dict[str, Any],
    saved_steps: Sequence[int],
    capacity_is_asked: bool,
) -> config_lib.Config:
    """The settings of a run that is resumed, whose replay may have shrunk when it began.

    Raises:
      SettingError: it was begun with other settings.
    """
    if not capacity_is_asked:
        config = dataclasses.replace(config, replay_capacity=stored["replay_capacity"])
    layout.check_same(path, stored, config, max(saved_steps, default=0))
    return config


def _check_agreement(config: config_lib.Config, overwrite: bool, initial_params: str) -> None:
    """Refuses processes of one run that were told different things.

    Raises:
      SettingError: they were.
    """
    if processes.count() == 1:
        return
    found = (
        dataclasses.asdict(config),
        overwrite,
        initial_params,
        provenance.versions(),
        provenance.code(),
        provenance.jax_settings(),
    )
    if not processes.are_equal(found):
        raise errors.SettingError(
            "num_processes",
            "the processes differ in their settings, versions, source code or initial agent, or do "
            "not see the same --run_dir",
        )


def check_effects(config: config_lib.Config, spec: api.EnvSpec) -> None:
    """Checks that settings of the environment have an effect.

    Existing runs are not checked: they can be resumed and scored as they are.

    Raises:
      SettingError: names a setting without effect.
    """
    if config.life_loss_ends and not spec.has_lives:
        raise errors.SettingError("life_loss_ends", f"has no effect: {spec.env_id} has no lives")
    if not config.scale_pixels and spec.frame_dtype != np.uint8:
        raise errors.SettingError(
            "scale_pixels",
            f"is false, which has no effect: {spec.env_id} shows {spec.frame_dtype}, not pixels",
        )
    limit, own_limit = config.max_episode_steps, spec.own_step_limit
    if limit is not None and own_limit is not None and limit < own_limit:
        raise errors.SettingError(
            "max_episode_steps",
            f"is {limit}, which has no effect: {spec.env_id} ends its own games after at most "
            f"{own_limit} steps",
        )


def check_films(config: config_lib.Config) -> None:
    """Checks that there is something to film, if films are asked for.

    Raises:
      SettingError: the environment draws no picture.
    """
    names = ("record_every_steps", "record_every_episodes")
    asked = [name for name in names if getattr(config, name)]
    if not asked:
        return
    env = registry.make(config.env, 1, config.seed, config.env_options, with_screen=True)
    with contextlib.closing(env):
        step = env.receive()
        try:
            moments_lib.look(env, step.frame[0])
        except api.UnsupportedEnvError as error:
            raise errors.SettingError(asked[0], f"has no effect: {error}") from None


def check_division(config: config_lib.Config, num_devices: int) -> None:
    """Checks that each device can hold an equal share of each group and of the batch.

    Raises:
      SettingError: names the setting that cannot be divided, and the nearest values that can.
    """
    for name, factor in (
        ("num_envs", num_devices * config.num_groups),
        ("batch_size", num_devices),
    ):
        value = getattr(config, name)
        if value % factor:
            raise errors.SettingError(
                name,
                f"is {value}, which {num_devices} devices cannot share equally; "
                f"nearest: {checks.nearest_multiples(value, factor)}",
            )
