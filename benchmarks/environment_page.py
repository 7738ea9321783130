"""The report of a walk through EnvPool's environments: a table, and a page of documentation."""

import collections
import textwrap
from collections.abc import Mapping

from benchmarks import environment_outcomes as outcomes_lib
from benchmarks import environment_trials, report

_STEPS = environment_trials.STEPS
_INTRODUCTION = f"""
# Environments

This page lists the environments of EnvPool that `--env` accepts, and why it refuses the others.
`python -m benchmarks.environments` writes this page. It trains in each environment for
{_STEPS} steps, in a separate process, or shows the one line with which `--env` refuses it.

Atari games can also be played by ALE's own vector of emulators, without EnvPool:
`--env=ale:Breakout`. It has the same 104 games under the same names, and takes all the same
settings except `--frame_skip_min`. It needs the package ale-py: `pip install -e '.[ale]'`.
[conformance.md](conformance.md) compares the two. For Gymnasium's name of the same game,
`ALE/Breakout-v5`, a run suggests these two. [own-environment.md](own-environment.md) describes
environments of Gymnasium. Some that are refused here because their observation is a number work
there: `--env=gymnasium:FrozenLake-v1`.

Networks with convolutions take frames with two axes, or with three, of which one is the channel
axis: the first or the last, whichever is shorter; the last if they are equal. `--network=impala`
and `hadamax` take frames of any size, `nature` and `small` frames of at least 36x36. So
`--network=small` works with all environments of atari, gfootball, marlgrid and procgen below, and
with those of craftax that show pixels.
"""


def table(found: outcomes_lib.Found) -> str:
    """How many environments of each family trained, were refused or failed."""
    counts = {
        family: {name: sum(map(len, reasons.values())) for name, reasons in outcomes.items()}
        for family, outcomes in found.items()
    }
    total: collections.Counter[str] = collections.Counter()
    for count in counts.values():
        total.update(count)
    rows = [
        (family, sum(count.values()), *(count.get(name, 0) for name in outcomes_lib.OUTCOMES))
        for family, count in [*counts.items(), ("all", total)]
    ]
    return report.table(("family", "ids", *outcomes_lib.OUTCOMES), rows)


def page(found: outcomes_lib.Found, shown: str, versions: Mapping[str, str | None]) -> str:
    """The page of a complete walk: a table by family, the reasons, and every id once.

    Args:
      found: the outcomes.
      shown: their `table`.
      versions: of the packages.
    """
    lines = [
        _INTRODUCTION.strip(),
        f"\nThe ids are those of EnvPool {versions['envpool']}. Other versions may differ.",
        f"\n{shown}\n\n## Reasons for refusal\n",
    ]
    reasons: collections.Counter[str] = collections.Counter()
    for outcomes in found.values():
        refused = outcomes.get(outcomes_lib.REFUSED, {})
        reasons.update({why: len(ids) for why, ids in refused.items()})
    rows = [(why.replace("|", "\\|"), count) for why, count in reasons.most_common()]
    lines += [report.table(("refused because it", "ids"), rows), ""]
    for family, outcomes in found.items():
        lines.append(f"## {family}\n")
        for name in outcomes_lib.OUTCOMES:
            for reason, ids in outcomes.get(name, {}).items():
                because = f" ({reason})" if reason else ""
                text = f"{name.capitalize()}{because}: {', '.join(ids)}"
                lines += [textwrap.fill(text, 100, break_on_hyphens=False), ""]
    return "\n".join(lines)
