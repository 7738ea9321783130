"""Mirrors metrics to a tracking service, if it is installed."""

import contextlib
import dataclasses
import importlib
import json
import pathlib
from collections.abc import Callable
from typing import Any

from jaxdqn import errors, wording
from jaxdqn.rundir import metrics
from jaxdqn.settings import config as config_lib
from jaxdqn.storage import atomic_files

FILE = "tracking.json"  # the service's name for the run


def check_installed(service: str) -> None:
    """Refuses a service that cannot be used here.

    Raises:
      SettingError: says how to install it.
    """
    try:
        found = importlib.import_module(service)
    except ImportError as error:
        problem = f"{service} is not installed" if error.name == service else str(error)
    except Exception as error:  # whatever a broken installation raises
        problem = f"{type(error).__name__}: {error}"
    else:
        if hasattr(found, "init"):
            return
        where = ", ".join(map(str, getattr(found, "__path__", ())))
        problem = f"{service} is not installed: {where} is an unrelated folder with that name"
    raise errors.SettingError("track", f"{problem}: pip install {service}, or omit --track")


class Wandb:
    """Weights & Biases: one of its runs for each of ours, across restarts.

    Its own variables decide where metrics go: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE=offline. If
    the service fails later, it is no longer used; the run keeps its metrics all the same.

    Args:
      path: of the run.
      config: its settings.
      say: prints a line.

    Raises:
      RunError: the service refuses the run.
    """

    def __init__(self, path: pathlib.Path, config: config_lib.Config, say: Callable[[str], None]):
        import wandb

        self._module, self._say, self._has_failed = wandb, say, False

        file = path / FILE
        try:
            known = json.loads(file.read_text())["wandb"] if file.exists() else None
            self._run: Any = wandb.init(
                name=path.name,
                id=known,
                resume="allow",
                dir=path,
                config=dataclasses.asdict(config),
                # wandb must not capture what the program prints.
                settings=wandb.Settings(console="off", silent=True),
            )
            # Over our steps, not over wandb's count of rows: that count never goes back, but a run
            # that resumes from a checkpoint does.
            self._run.define_metric("*", step_metric="step")
        except Exception as error:  # of many kinds: no key, no network, a run that was deleted
            raise errors.RunError(f"--track=wandb: {error}") from None
        with atomic_files.whole(file) as part:
            part.write_text(json.dumps({"wandb": self._run.id}) + "\n")

    def write(self, row: metrics.Row) -> None:
        """Mirrors one row."""
        self._try(lambda: self._run.log({name: x for name, x in row.items() if x is not None}))

    def close(self) -> None:
        """Sends what is left."""
        self._try(self._run.finish)

    def _try(self, call: Callable[[], object]) -> None:
        """Calls the service, unless it has failed before."""
        if self._has_failed:
            return
        try:
            call()
        except Exception as error:  # of many kinds: its process died, it cannot write, ...
            self._has_failed = True
            told = wording.one_line(error)
            self._say(f"WARNING: --track=wandb receives no more metrics: {told}")
            with contextlib.suppress(Exception):  # or it would print errors as the program ends
                self._module.teardown()
