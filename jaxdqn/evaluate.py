r"""Scores a trained agent over whole games, with frozen parameters.

  python -m jaxdqn.evaluate --run_dir=runs/Breakout-laptop-seed0
  python -m jaxdqn.evaluate --run_dir=runs/Breakout-laptop-seed0 --env=ale:Breakout

The same seed gives the same score.
"""

import json
import math
from typing import Any

from absl import flags

from jaxdqn.cli import devices, program, shared_flags


def _define_flags() -> None:
    shared_flags.define_saved_run()
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
    flags.DEFINE_boolean("json", False, "print one JSON object with the return of every game")
    devices.define_compilation_cache()


def main() -> int:
    """Scores as the flags say; returns the exit code."""
    values = flags.FLAGS
    shared_flags.check_saved_run()

    devices.start_devices()

    from jaxdqn.playing import scoring
    from jaxdqn.rundir import trained_agent

    agent = shared_flags.saved_agent()
    if values.env:
        agent = trained_agent.elsewhere(agent, values.env)
    protocol = shared_flags.protocol_for(agent)
    result = scoring.score(agent, protocol, values.episodes, values.seed)
    print(json.dumps(_finite(result), allow_nan=False) if values.json else _table(result))
    return 0


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
