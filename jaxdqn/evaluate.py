r"""Scores a trained agent over whole games, with frozen parameters.

  python -m jaxdqn.evaluate --run_dir=runs/Breakout-laptop-seed0
  python -m jaxdqn.evaluate --run_dir=runs/Breakout-laptop-seed0 --env=ale:Breakout
  python -m jaxdqn.evaluate --runs='runs/*'

The same seed gives the same score. With `--runs`, each run has a line, and so has each group of
runs that differ only in their seeds.
"""

import json
import math
import pathlib
import sys
import typing
from collections.abc import Sequence
from typing import Any

from absl import flags

from jaxdqn import errors
from jaxdqn.cli import devices, program, run_folders, shared_flags

if typing.TYPE_CHECKING:
    from jaxdqn.rundir import trained_agent


def _define_flags() -> None:
    shared_flags.define_saved_run()
    flags.DEFINE_string(
        "runs",
        None,
        "instead of one run: folders of runs, by name or with wildcards, separated by commas",
    )
    shared_flags.define_protocol()
    flags.DEFINE_string(
        "env",
        None,
        "environment to play instead of the agent's own, such as the same game of another source; "
        "frames and actions must be the same",
    )
    flags.DEFINE_integer(
        "episodes",
        100,
        "whole games, shared as equally as possible among up to 64 environments",
        lower_bound=1,
    )
    shared_flags.define_play_seed()
    flags.DEFINE_boolean(
        "json", False, "print a JSON object with the return of every game, for each run on one line"
    )
    devices.define_compilation_cache()


def main() -> int:
    """Scores as the flags say; returns the exit code."""
    values = flags.FLAGS
    if values.runs is None:
        shared_flags.check_saved_run()
        folders = []
    else:
        for name in ("run_dir", "agent"):
            if flags.FLAGS[name].value:
                raise errors.SettingError("runs", f"names runs, and so does --{name}; use one")
        folders = run_folders.named(values.runs)

    devices.start_devices()

    if folders:
        return _score_all(folders)
    result = _score(shared_flags.saved_agent())
    print(_json(result) if values.json else _table(result))
    return 0


def _score(agent: "trained_agent.SavedAgent") -> dict[str, Any]:
    """Scores an agent as the flags say."""
    from jaxdqn.playing import scoring
    from jaxdqn.rundir import trained_agent

    values = flags.FLAGS
    if values.env:
        agent = trained_agent.elsewhere(agent, values.env)
    protocol = shared_flags.protocol_for(agent)
    return scoring.score(agent, protocol, values.episodes, values.seed)


def _score_all(folders: Sequence[pathlib.Path]) -> int:
    """Scores runs one after the other; returns 1 if some cannot be scored."""
    from jaxdqn.reporting import evaluated
    from jaxdqn.rundir import trained_agent

    values, means, code = flags.FLAGS, {}, 0
    for folder in folders:
        try:
            result = _score(trained_agent.load(folder, values.checkpoint))
        except (errors.SettingError, errors.RunError) as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            code = 1
            continue
        print(_json(result) if values.json else _line(result), flush=True)
        means[folder] = result["return"]["mean"]
    if not values.json and len(means) > 1:
        print("", *evaluated.summary(means), sep="\n")
    return code


def _json(result: dict[str, Any]) -> str:
    return json.dumps(_finite(result), allow_nan=False)


def _finite(value: Any) -> Any:
    """The same, with null for numbers that JSON cannot represent."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(result: dict[str, Any]) -> str:
    score = result["return"]
    lines = {
        "agent": f"{result['env']}, step {result['checkpoint']:,} of {result['run_dir']}",
        "protocol": f"{result['protocol']}: {result['protocol_text']}",
        "games": f"{result['episodes']:,}{_repeats(result)} on {result['num_envs']} environments, "
        f"seed {result['seed']}; {result['capped']} ended by the time limit",
        "return": f"mean {score['mean']:.2f}{_interval(result)}, standard deviation "
        f"{score['std']:.2f}",
        "": f"median {score['median']:g}, min {score['min']:g}, max {score['max']:g}",
    }
    if result["human_normalised"] is not None:
        lines["human"] = (
            f"{result['human_normalised']:.1%} of the way from random play "
            f"({result['random_score']:g}) to a human tester ({result['human_score']:g})"
        )
    return "\n".join(f"{name:>8}  {text}" for name, text in lines.items())


def _line(result: dict[str, Any]) -> str:
    share, mean = result["human_normalised"], result["return"]["mean"]
    human = "" if share is None else f", {share:.1%} of a human tester"
    return (
        f"{result['run_dir']}: step {result['checkpoint']:,}, {result['protocol']}, "
        f"{result['episodes']:,} games{_repeats(result) or ','} mean return {mean:.2f}"
        f"{_interval(result)}{human}"
    )


def _repeats(result: dict[str, Any]) -> str:
    return f", of which {result['distinct_games']:,} differ," if result["repeats"] else ""


def _interval(result: dict[str, Any]) -> str:
    ends = result["return"]["interval_95"]
    if ends is None:
        return ""
    of_which = " from those that differ" if result["repeats"] else ""
    return f" (95% interval{of_which} {ends[0]:.2f} to {ends[1]:.2f})"


if __name__ == "__main__":
    program.run_program(_define_flags, main)
