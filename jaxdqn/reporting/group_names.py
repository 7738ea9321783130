"""Names for groups of runs that are short enough for a plot."""

import textwrap
from collections.abc import Sequence

from jaxdqn import wording

SHARED_AXES = 12  # maximum number of groups on shared axes; more get a panel each
# Characters of a line, lines of a complete name, and lines of a shortened name.
_IN_LEGEND = (72, 2, 1)
_IN_TITLE = (28, 3, 2)


def short(labels: Sequence[str]) -> list[str]:
    """Names of groups in plots: their labels without what all have in common, in lines.

    Args:
      labels: of the groups, all different: settings separated by ', '.

    Returns:
      A name for each. If one has to be shortened, all begin with the number of their group, from
      1, so that a page can list the complete labels by number.
    """
    width, most, most_if_cut = _IN_LEGEND if len(labels) <= SHARED_AXES else _IN_TITLE
    telling = _without_common_parts(labels)
    names = [_wrapped(label, width, most) for label in telling]
    if any(name.endswith("…") for name in names):
        numbered = enumerate(telling, start=1)
        names = [_wrapped(f"{number}: {label}", width, most_if_cut) for number, label in numbered]
    return names


def are_cut(labels: Sequence[str]) -> bool:
    """Whether the names of groups in plots are shortened and need a list of the complete labels."""
    return any(name.endswith("…") for name in short(labels))


def _without_common_parts(labels: Sequence[str]) -> list[str]:
    parts = [label.split(", ") for label in labels]
    common = set(parts[0]).intersection(*parts) if len(parts) > 1 else set()
    telling = [", ".join(part for part in of_one if part not in common) for of_one in parts]
    return telling if all(telling) else list(labels)


def _wrapped(label: str, width: int, most: int) -> str:
    # The fonts of plots lack many characters; settings that a run can have are ASCII.
    text = wording.visible(label).encode("ascii", "backslashreplace").decode()
    lines = textwrap.wrap(text, width, max_lines=most, placeholder="…", break_on_hyphens=False)
    return "\n".join(lines).replace(",…", "…")
