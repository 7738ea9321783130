r"""Writes `docs/presets.md`: every preset, its most telling settings and what it should produce.

  python -m benchmarks.preset_page

A test holds the page to the presets.
"""

import pathlib
import textwrap

from benchmarks import report
from jaxdqn import wording
from jaxdqn.cli import program
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import general, presets
from jaxdqn.storage import atomic_files

FILE = pathlib.Path(__file__).parents[1] / "docs" / "presets.md"
_INTRODUCTION = """
# Presets

A preset is a named set of settings. Each game has a default preset, `--preset` chooses another, and
any flag overrides it. `python -m jaxdqn.train --list_presets` prints the names, games and scores
below, and `python -m benchmarks.preset_page` writes this page. [Algorithms](algorithms.md) explains
the published agents, and [tutorials](tutorials.md) how the presets differ from the tutorials.
[Measurements](measurements.md) has curves of some of these runs.

The column `steps` is the length of a run, in steps of all environments together; `--total_steps`
changes it. The environments play in parallel, and the run learns from one batch every `every`
steps. PQN (n-step `lambda`) learns from all of these steps, in batches, and then discards them. A
backward sweep (every `-`) learns once its memory is full.
"""


def page() -> str:
    """The whole page, as Markdown."""
    lines = [_INTRODUCTION.strip()]
    for group, members in presets.groups().items():
        title, _, more = group.partition("; ")
        lines.append(f"\n## {title}\n")
        if more:
            lines += [*textwrap.wrap(f"{more[0].upper()}{more[1:]}.", 100), ""]
        lines += [report.table(_HEAD, [_row(name, p) for name, p in members.items()]), ""]
        for name, preset in members.items():
            told = f"- `{name}`: {preset.expected}."
            lines += textwrap.wrap(told, 100, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines) + "\n"


_HEAD = (
    *("preset", "game", "steps", "environments", "batch", "every", "learning rate", "n-step"),
    "replay",
)


def _row(name: str, preset: general.Preset) -> tuple[object, ...]:
    game = preset.env or ("Breakout" if preset.is_for_atari else "CartPole")
    config = presets.resolve(game, name, {})
    counts = (f"{config.total_steps:,}", config.num_envs, config.batch_size)
    return (f"`{name}`", preset.games, *counts, *_learning(config))


def _learning(config: config_lib.Config) -> tuple[str, ...]:
    rate = f"{config.learning_rate:g}"
    if not config.why_unread("rollout_steps"):
        return (f"{config.num_envs * config.rollout_steps:,} steps", rate, "lambda", "none")
    every = wording.counted(config.steps_per_update, "step")
    updates = "-" if config.why_unread("steps_per_update") else every
    n_step = "-" if config.why_unread("n_step") else str(config.n_step)
    return (updates, rate, n_step, f"{config.replay_capacity:,}")


def main() -> int:
    """Writes the page."""
    with atomic_files.whole(FILE) as part:
        part.write_text(page())
    print(f"written to {FILE}")
    return 0


if __name__ == "__main__":
    program.run_program(lambda: None, main)
