"""What is checked, and decided, before a run writes anything."""

import contextlib
import dataclasses
import pathlib
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from jaxdqn import config as config_lib
from jaxdqn.agent import networks
from jaxdqn.envs import api, envpool, frame_skip
from jaxdqn.runtime import hosts, memory, parts, play, provenance, run_dir
from jaxdqn.runtime import mesh as mesh_lib


class Setup(NamedTuple):
    """A run that can begin."""

    config: config_lib.Config  # with a replay that fits
    spec: api.EnvSpec
    mesh: Mesh
    path: pathlib.Path  # the run directory
    overwrite: bool
    asked_capacity: int  # of the replay, before it was made to fit
    free_device_bytes: int  # before the run takes its share
    free_host_bytes: int


def prepare(
    config: config_lib.Config,
    *,
    path: pathlib.Path | None,
    overwrite: bool,
    capacity_chosen_by_user: bool,
) -> Setup:
    """Checks all that can be checked before anything is written.

    Args:
      config: settings that fit each other.
      path: the run directory; None for the default one.
      overwrite: whether a run that lies there gives way.
      capacity_chosen_by_user: a replay of the user's size is refused where it does not fit; that
        of a preset shrinks.

    Raises:
      SettingError: names the setting that cannot be.
    """
    mesh = mesh_lib.make_mesh()
    if len(mesh.local_devices) * hosts.count() != mesh.devices.size:
        raise config_lib.SettingError(
            "num_processes",
            f"{hosts.count()} processes do not share {mesh.devices.size} devices equally: this one "
            f"has {len(mesh.local_devices)}",
        )
    check_division(config, mesh.devices.size)
    spec = describe(config)
    path = path or run_dir.default_path(config)
    stored = run_dir.read_settings(path)
    run_dir.check_writable(path)
    if stored is None or overwrite:
        check_effects(config, spec)
        check_films(config)
    else:
        if not capacity_chosen_by_user:
            # It may have shrunk to the memory that was free when the run began.
            capacity_chosen_by_user = True
            config = dataclasses.replace(config, replay_capacity=stored["replay_capacity"])
        run_dir.check_same(path, stored, config)
        run_dir.check_same_jax(path)
    free_bytes = memory.free_device_bytes(mesh)
    memory.check_network(config, spec, free_bytes)
    fitted = memory.fit_replay(config, spec, free_bytes, capacity_chosen_by_user)
    if not hosts.are_equal(
        (
            dataclasses.asdict(fitted),
            overwrite,
            provenance.versions(),
            provenance.jax_settings(),
        )
    ):
        raise config_lib.SettingError(
            "num_processes",
            "the processes have other settings or versions than each other, or do not see the same "
            "--run_dir",
        )
    return Setup(
        config=fitted,
        spec=spec,
        mesh=mesh,
        path=path,
        overwrite=overwrite,
        asked_capacity=config.replay_capacity,
        free_device_bytes=free_bytes,
        free_host_bytes=memory.free_host_bytes(),
    )


def describe(config: config_lib.Config) -> api.EnvSpec:
    """The environment of a run, when the settings fit it.

    Raises:
      SettingError: names the setting that does not.
    """
    try:
        spec = frame_skip.describe(config.env, config.env_options)
    except envpool.OptionError as error:
        raise config_lib.SettingError(
            error.option, f"{error}; the flag or --preset={config.preset} sets it"
        ) from None
    except envpool.UnsupportedEnvError as error:
        raise config_lib.SettingError("env", str(error)) from None
    if config.motion_trace and (len(spec.frame_shape) != 2 or spec.frame_dtype != np.uint8):
        raise config_lib.SettingError(
            "motion_trace",
            f"needs images of one channel; {spec.env_id} shows {_shown(spec)}",
        )
    check_convolutions(config, spec)
    return spec


def check_effects(config: config_lib.Config, spec: api.EnvSpec) -> None:
    """Sees to it that the environment gives effect to what was asked of it.

    Runs that were begun are not checked: they can be gone on with and scored as they are.

    Raises:
      SettingError: names a setting without effect.
    """
    if config.life_loss_ends and not spec.has_lives:
        raise config_lib.SettingError(
            "life_loss_ends", f"has no effect: {spec.env_id} has no lives"
        )
    if not config.scale_pixels and spec.frame_dtype != np.uint8:
        raise config_lib.SettingError(
            "scale_pixels",
            f"is false, which has no effect: {spec.env_id} shows no pixels but {spec.frame_dtype}",
        )
    limit, own_limit = config.max_episode_steps, spec.own_step_limit
    if limit is not None and own_limit is not None and limit < own_limit:
        raise config_lib.SettingError(
            "max_episode_steps",
            f"is {limit}, which has no effect: {spec.env_id} ends its games by itself, after up to "
            f"{own_limit} steps",
        )


def check_films(config: config_lib.Config) -> None:
    """Sees to it that there is something to film, where films are asked for.

    Raises:
      SettingError: the environment draws no picture.
    """
    names = ("record_every_steps", "record_every_episodes")
    asked = [name for name in names if getattr(config, name)]
    if not asked:
        return
    env = frame_skip.make(config.env, 1, config.seed, config.env_options, with_screen=True)
    with contextlib.closing(env):
        step = env.receive()
        try:
            play.look(env, step.frame[0])
        except envpool.UnsupportedEnvError as error:
            raise config_lib.SettingError(asked[0], f"has no effect: {error}") from None


def check_convolutions(config: config_lib.Config, spec: api.EnvSpec) -> None:
    """Sees to it that a network of convolutions gets images, and large enough ones.

    Raises:
      SettingError: it does not.
    """
    architecture = parts.architecture(config, spec.num_actions)
    if not architecture.convolutions:
        return
    sizes = list(spec.frame_shape)
    for layer in architecture.convolutions:
        sizes = [networks.output_size(size, layer, architecture.padding) for size in sizes]
    if len(sizes) != 2 or min(sizes) < 1:
        needed = "images of at least 36x36" if config.network == "nature" else "larger images"
        if len(sizes) > 2:
            needed += " and of one channel"
        raise config_lib.SettingError(
            "network",
            f"{config.network} needs {needed}, but {spec.env_id} shows {_shown(spec)}; use mlp",
        )


def _shown(spec: api.EnvSpec) -> str:
    return f"{'x'.join(map(str, spec.frame_shape))} {spec.frame_dtype}"


def check_division(config: config_lib.Config, num_devices: int) -> None:
    """Sees to it that each device holds an equal share of each group and of the batch.

    Raises:
      SettingError: names the setting that does not divide, and the nearest that would.
    """
    for name, factor in (
        ("num_envs", num_devices * config.num_groups),
        ("batch_size", num_devices),
    ):
        value = getattr(config, name)
        if value % factor:
            raise config_lib.SettingError(
                name,
                f"is {value}, which {num_devices} devices cannot share equally; "
                f"nearest: {config_lib.nearest_multiples(value, factor)}",
            )
