"""Metrics mirrored to a tracking service, for those who have it installed."""

import dataclasses
import importlib.util
import json
import pathlib
from typing import Any

from jaxdqn import config as config_lib
from jaxdqn.runtime import files, metrics

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

    Raises:
      RunError: the service refuses.
    """

    def __init__(self, path: pathlib.Path, config: config_lib.Config):
        import wandb

        file = path / FILE
        try:
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
            # Over our steps, not over their count of rows: that never goes back, as a run does
            # that begins again at a checkpoint.
            self._run.define_metric("*", step_metric="step")
        except Exception as error:  # of many kinds: no key, no network, a run that was deleted
            raise config_lib.RunError(f"--track=wandb: {error}") from None
        with files.whole(file) as part:
            part.write_text(json.dumps({"wandb": self._run.id}) + "\n")

    def write(self, row: metrics.Row) -> None:
        """Mirrors one row."""
        self._run.log({name: value for name, value in row.items() if value is not None})

    def close(self) -> None:
        """Sends what is left."""
        self._run.finish()
