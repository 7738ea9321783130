"""What users see: the plan, a progress bar on a terminal, plain lines elsewhere."""

import datetime
import shutil
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import tqdm

from jaxdqn.algorithms import api as algorithms
from jaxdqn.assembly import memory, parts
from jaxdqn.distributed import processes
from jaxdqn.envs import api, episodes, images, registry
from jaxdqn.rundir import metrics
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import presets
from jaxdqn.training import setup as setup_lib

_NOTHING = "-"  # stands for what is not known
_LOOK_S = 5.0  # between two looks for a first loss
# Learning is measured for so long, and so long after the first loss, which a run that resumes knows
# before learning is compiled.
_MEASURED_S = 10.0
_AGAIN_S = 10.0  # between two lines about steps that are played again
_LONGEST_S = 1e13  # that Python writes as days and hours
_LEAST_IMAGE = 36  # pixels of a side that the network `small` needs
_WIDE = 115  # columns that a bar and all that is shown next to it take


def plan(setup: setup_lib.Setup, params: Any, from_step: int) -> str:
    """The plan of a run, printed before it starts."""
    config, spec, devices = setup.config, setup.spec, setup.mesh.devices
    num_params = sum(leaf.size for leaf in jax.tree.leaves(params))
    asked, on_cpu = setup.asked_capacity, devices.flat[0].platform == "cpu"
    remarks = "; ".join(filter(None, (presets.reason(config), presets.advice(config, on_cpu))))
    frame = "x".join(map(str, parts.seen_shape(config, spec))) or "1"
    lines = {
        "game": f"{spec.env_id}, {spec.num_actions} actions, {config.frame_stack} x {frame} "
        f"{spec.frame_dtype.name}; {config.num_envs} environments in {config.num_groups} groups",
        "preset": f"{config.preset}{f' ({remarks})' if remarks else ''}, seed {config.seed}",
        "devices": f"{devices.size} x {devices.flat[0].device_kind}"
        + (f", of {processes.count()} processes" if processes.count() > 1 else ""),
        "network": f"{config.network} {'-'.join(map(str, config.hidden_sizes))}, "
        f"{num_params:,} parameters{_of_pixels(config, spec)}",
        "replay": f"{config.replay_capacity:,} steps"
        + (f" (shrunk from {asked:,} to fit)" if asked != config.replay_capacity else "")
        + f", {_gigabytes(memory.replay_bytes(config, spec))}; free: device "
        f"{_gigabytes(setup.free_device_bytes)}, host {_gigabytes(setup.free_host_bytes)}",
        "steps": f"{config.total_steps:,} ({config.total_steps * spec.frame_skip:,} frames)",
        "updates": algorithms.chosen(config).plan(config),
        "limit": f"no time limit: evaluations end a game after {registry.LONGEST_STEPS:,} steps, "
        "which may take long; --max_episode_steps sets a limit"
        if spec.is_endless
        else "",
        "time": f"left: shown after {2 * _MEASURED_S:.0f} s of learning",
        "run_dir": str(setup.path) + (f", resuming from step {from_step:,}" if from_step else ""),
    }
    return "\n".join(f"{name:>8}  {text}" for name, text in lines.items() if text)


def _of_pixels(config: config_lib.Config, spec: api.EnvSpec) -> str:
    """What to try where dense layers read the pixels of images; '' where they do not."""
    size = images.size(spec.frame_shape)
    if parts.make_encoder(config).learns or size is None or min(size) < _LEAST_IMAGE:
        return ""
    return " (dense layers read every pixel; --network=small has convolutions)"


def layers(params: Any) -> str:
    """Every parameter with its shape and size, one per line."""
    leaves = jax.tree_util.tree_leaves_with_path(params["params"])
    rows = [
        (
            "/".join(part.key for part in where),
            "x".join(map(str, leaf.shape)),
            f"{leaf.size:,}",
        )
        for where, leaf in leaves
    ]
    name_width, shape_width, size_width = (
        max(map(len, column)) for column in zip(*rows, strict=True)
    )
    return "\n".join(
        f"{name:<{name_width}}  {shape:>{shape_width}}  {size:>{size_width}}"
        for name, shape, size in rows
    )


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.2f} MB"


def _duration(seconds: float) -> str:
    return str(datetime.timedelta(seconds=int(min(seconds, _LONGEST_S))))


class Progress:
    """Shows the progress of a run."""

    def __init__(self, total_steps: int, from_step: int):
        self._total, self._is_shown = total_steps, processes.is_primary()
        self._loss = _NOTHING  # the last that is known
        self._next_look_s = 0.0
        self._shown: dict[str, str] = {}  # next to the bar
        self._first_loss_s: float | None = None  # when one was known
        self._measured_from: tuple[int, float] | None = None  # step, and when
        self._is_time_told = False
        self._next_again_s: float | None = None  # when it is told how much has been played again
        self._bar = (
            tqdm.tqdm(
                total=total_steps,
                initial=from_step,
                unit=" steps",
                unit_scale=True,
                dynamic_ncols=True,
                smoothing=0.05,
            )
            if self._is_shown and sys.stdout.isatty() and sys.stderr.isatty()
            else None
        )

    def advance(self, step: int, now_s: float, find_loss: Callable[[], float | None]) -> None:
        """Moves the bar.

        Args:
          step: the current step.
          now_s: seconds of training; evaluations do not count.
          find_loss: called now and then, as long as no loss is known. From 10 to 20 s after one is,
            learning is measured, and the time that is left is told.
        """
        if self._bar is not None:
            self._bar.update(min(step, self._total) - self._bar.n)
        if not self._is_shown:
            return
        if self._loss == _NOTHING and now_s > self._next_look_s:
            self._next_look_s = now_s + _LOOK_S
            self._loss = _short(find_loss())
            if self._loss != _NOTHING:
                self._show_beside_bar(self._shown | {"loss": self._loss})
        if not self._is_time_told and self._loss != _NOTHING:
            self._tell_time(step, now_s)

    def _tell_time(self, step: int, now_s: float) -> None:
        """Tells the time that is left, as soon as learning has been measured."""
        if self._first_loss_s is None:
            self._first_loss_s = now_s
        if now_s < self._first_loss_s + _MEASURED_S:
            return
        if self._measured_from is None:
            self._measured_from = step, now_s
        from_step, since_s = self._measured_from
        if now_s >= since_s + _MEASURED_S and step > from_step:
            self._is_time_told = True
            speed = (step - from_step) / (now_s - since_s)
            left = _duration(max(0, self._total - step) / speed)
            self.say(f"    time  about {left} left without evaluations, at {speed:,.0f} steps/s")

    def play_again(self, step: int, total: int, now_s: float) -> None:
        """Tells at the beginning and every ten seconds how many of the steps are played again."""
        if self._next_again_s is None:
            self.say(f"playing {total:,} steps again, up to where the run was saved")
        elif now_s < self._next_again_s:
            return
        else:
            self.say(f"played {step:,} of {total:,} steps again")
        self._next_again_s = now_s + _AGAIN_S

    def _show_beside_bar(self, shown: dict[str, str]) -> None:
        """Shows what fits next to the bar, if there is one: return and loss on narrow terminals."""
        self._shown = shown
        if self._bar is not None:
            wide = shutil.get_terminal_size().columns >= _WIDE
            names = [name for name in shown if wide or name in ("return", "loss")]
            self._bar.set_postfix({name: shown[name] for name in names})

    def row(self, step: int, row: Mapping[str, metrics.Value]) -> None:
        """Shows a row of training metrics."""
        shown = {
            "return": _short(row["episode_return_mean"]),
            "loss": _short(row["loss"]),
            "epsilon": _short(row["epsilon"]),
        }
        used = _gigabytes(row["memory_used_bytes"] or 0)
        self._loss = shown["loss"]
        speed = row["steps_per_second"]
        left_s = max(0, self._total - step) / speed if speed else None
        if self._bar is not None:
            self._show_beside_bar(shown | {"memory": used})
            return
        left = "unknown" if left_s is None else _duration(left_s)
        values = "  ".join(f"{name} {value}" for name, value in shown.items())
        rate = f"{speed:,.0f}" if speed else "-"
        self.say(
            f"step {step:,}/{self._total:,}  {rate} steps/s  left {left}  {values}  memory {used}"
        )

    def game(
        self,
        step: int,
        number: int,
        game: episodes.Game,
        recent: episodes.RecentGames,
        epsilon: float,
    ) -> None:
        """Shows a training game that has ended."""
        self.say(
            f"game {number:,}  step {step:,}  return {game.game_return:g}  length {game.length:,}  "
            f"mean of the last 100 {_short(recent.means()[0])}  loss {self._loss}  "
            f"epsilon {_short(epsilon)}"
        )

    def say(self, line: str) -> None:
        """Prints a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(line)
        elif self._is_shown:
            print(line, flush=True)

    def close(self) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()


def _short(value: metrics.Value) -> str:
    return _NOTHING if value is None else f"{value:.3g}"
