"""The environment of a run, and whether the settings fit it."""

import numpy as np

from jaxdqn import errors
from jaxdqn.assembly import parts
from jaxdqn.envs import api, images, registry
from jaxdqn.settings import config as config_lib


def describe(config: config_lib.Config) -> api.EnvSpec:
    """Describes the environment of a run, and checks that the settings fit it.

    Raises:
      SettingError: names the setting that does not fit.
    """
    try:
        spec = registry.describe(config.env, config.env_options)
    except api.OptionError as error:
        raise errors.SettingError(
            error.option, f"{error}; set by its flag or by --preset={config.preset}"
        ) from None
    except api.UnsupportedEnvError as error:
        raise errors.SettingError("env", str(error)) from None
    if config.motion_trace and (len(spec.frame_shape) != 2 or spec.frame_dtype != np.uint8):
        raise errors.SettingError(
            "motion_trace",
            f"needs images of one channel; {spec.env_id} shows {_shown(spec)}",
        )
    check_encoder(config, spec)
    return spec


def check_encoder(config: config_lib.Config, spec: api.EnvSpec) -> None:
    """Refuses a network whose encoder cannot take the frames of the environment.

    Raises:
      SettingError: it does not.
    """
    needed = parts.make_encoder(config).needs(parts.seen_shape(config, spec))
    if needed:
        raise errors.SettingError(
            "network",
            f"{config.network} needs {needed}, but {spec.env_id} shows {_shown(spec)}; use "
            + ("smaller convolutions (conv) or mlp" if images.size(spec.frame_shape) else "mlp"),
        )


def _shown(spec: api.EnvSpec) -> str:
    return f"{'x'.join(map(str, spec.frame_shape))} {spec.frame_dtype}"
