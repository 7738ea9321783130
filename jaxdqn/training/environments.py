"""The environments that a training run plays in."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from jaxdqn import errors
from jaxdqn.envs import api, registry, watchdog
from jaxdqn.settings import config as config_lib
from jaxdqn.training import seeds


@contextlib.contextmanager
def starting(name: str) -> Iterator[None]:
    """Environments that cannot be started within it end a run as those that fail in a game do.

    It is for moments at which a run can be saved.

    Raises:
      EnvNotStartedError: they cannot.
    """
    try:
        yield
    except (api.UnsupportedEnvError, OSError) as error:
        raise errors.EnvNotStartedError(f"{name} cannot be started: {error}") from None


class RunEnvs:
    """Starts environments, with separate seeds for each use, and watches over them.

    Args:
      config: of the run.
      watchdog: notices environments that do not answer.
    """

    def __init__(self, config: config_lib.Config, watchdog: watchdog.Watchdog):
        self._config, self._watchdog = config, watchdog

    def training(self, group: int, step: int, envs: range) -> api.VectorEnv:
        """Some of a group's environments, as they are created at a step.

        Raises:
          EnvNotStartedError: they cannot be started.
        """
        first = group * self._config.group_size
        name = f"environments {first + envs.start} to {first + envs.stop - 1}"
        with starting(name):
            options = self._config.env_options
            return self._make(name, envs, options, seeds.Stream.ENVS, group, step)

    def evaluation(self, step: int, envs: range) -> api.VectorEnv:
        """Some of the environments in which the parameters of a step are scored.

        Raises:
          EnvNotStartedError: they cannot be started.
        """
        name = "the evaluation's environments"
        with starting(name):
            options = registry.limited(self._config.env, self._config.env_options)
            return self._make(name, envs, options, seeds.Stream.EVALUATION, step)

    def watched(self, env: api.DrawnEnv, name: str) -> api.DrawnEnv:
        """Watches over environments that were started elsewhere."""
        return self._watchdog.watched(env, name)

    def _make(
        self,
        name: str,
        envs: range,
        options: Mapping[str, Any],
        stream: seeds.Stream,
        *numbers: int,
    ) -> api.VectorEnv:
        config = self._config
        seed = seeds.env_seed(config.seed, stream, *numbers) + envs.start
        return self.watched(
            registry.make(config.env, len(envs), seed, options, config.env_threads), name
        )
