"""Metrics mirrored to a tracking service, for those who have it installed."""

import dataclasses
import importlib.util
import json
import pathlib
from typing import Any

from jaxdqn import config as config_lib
from jaxdqn.runtime import metrics

FILE = "tracking.json"  # under which name the service knows the run


def check_installed(service: str) -> None:
    """Refuses a service that is not installed.

    Raises:
      SettingError: says how to install it.
    """
    if importlib.util.find_spec(service) is None:
        raise config_lib.SettingError(
            "track", f"{service} is not installed: pip install {service}, or leave --track out"
        )


class Wandb:
    """Weights & Biases: one run of theirs for one run of ours, whatever its restarts.

    Where it goes is theirs to say: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE=offline.
    """

    def __init__(self, path: pathlib.Path, config: config_lib.Config):
        import wandb

        file = path / FILE
        known = json.loads(file.read_text())["wandb"] if file.exists() else None
        self._run: Any = wandb.init(
            name=path.name,
            id=known,
            resume="allow",
            dir=path,
            config=dataclasses.asdict(config),
            # What the program prints is its own.
            settings=wandb.Settings(console="off", silent=True),
        )
        file.write_text(json.dumps({"wandb": self._run.id}) + "\n")

    def write(self, step: int, row: metrics.Row) -> None:
        """Mirrors one row."""
        told = {name: value for name, value in row.items() if value is not None}
        self._run.log(told, step=step)

    def close(self) -> None:
        """Sends what is left."""
        self._run.finish()
