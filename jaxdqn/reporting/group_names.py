"""Names of groups of runs, short enough for a plot."""

import textwrap
from collections.abc import Sequence

from jaxdqn import wording

SHARED_AXES = 12  # most groups that one pair of axes holds; more get a panel each
# Characters of a line, lines of a whole name, and lines of names that are cut.
_IN_LEGEND = (72, 2, 1)
_IN_TITLE = (28, 3, 2)


def short(labels: Sequence[str]) -> list[str]:
    """What plots call groups: their labels, less what all have in common, in lines.

    Args:
      labels: of the groups, different ones: settings with ', ' between them.

    Returns:
      A name for each. Where one has to be cut, all begin with the number of their group, from 1:
      a page can list the whole labels by it.
    """
    width, most, most_if_cut = _IN_LEGEND if len(labels) <= SHARED_AXES else _IN_TITLE
    telling = _without_common_parts(labels)
    names = [_wrapped(label, width, most) for label in telling]
    if any(name.endswith("…") for name in names):
        numbered = enumerate(telling, start=1)
        names = [_wrapped(f"{number}: {label}", width, most_if_cut) for number, label in numbered]
    return names


def are_cut(labels: Sequence[str]) -> bool:
    """Whether the names of groups in plots need a list of the whole labels beside them."""
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
