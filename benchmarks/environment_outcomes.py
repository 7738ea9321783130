"""What became of EnvPool's environments: kept during a walk, and sorted at its end."""

import json
import pathlib
import re
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jaxdqn.envs.envpool import games
from jaxdqn.rundir import provenance

OUTCOMES = TRAINED, REFUSED, FAILED = "trained", "refused", "failed"

Reasons = Mapping[str, list[str]]  # the ids, by the reason of their outcome
Found = Mapping[str, Mapping[str, Reasons]]  # family -> outcome -> reasons


class Outcome(NamedTuple):
    """The outcome of an environment."""

    env: str  # its id
    outcome: str  # trained, refused or failed
    reason: str = ""  # of a refusal or a failure, in one line
    seconds: float = 0.0


class Progress:
    """The outcomes so far, kept in a file from which the next walk continues.

    Args:
      path: the file; it is started over if it is of other versions.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self.outcomes: dict[str, Outcome] = {}
        head = json.dumps(provenance.versions())
        lines = path.read_text().splitlines() if path.exists() else []
        if lines[:1] != [head]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{head}\n")
        for line in lines[1:] if lines[:1] == [head] else []:
            try:
                self._keep(Outcome(*json.loads(line)))
            except ValueError:  # cut off with the walk
                continue

    def _keep(self, outcome: Outcome) -> None:
        if outcome.outcome == FAILED:
            self.outcomes.pop(outcome.env, None)  # it is tried again
        else:
            self.outcomes[outcome.env] = outcome

    def add(self, outcome: Outcome) -> None:
        """Keeps an outcome, and prints it unless it is a refusal."""
        self.outcomes[outcome.env] = outcome
        with self._path.open("a") as file:
            file.write(json.dumps(outcome) + "\n")
        if outcome.outcome != REFUSED:
            line = f"{outcome.env}: {outcome.outcome}, {outcome.seconds:.1f} s"
            print(f"{line}: {outcome.reason}" if outcome.reason else line, flush=True)

    def end(self) -> None:
        """Deletes the file, unless there are failures: the next walk repeats those alone."""
        if all(outcome.outcome != FAILED for outcome in self.outcomes.values()):
            self._path.unlink()


def family(env: str) -> str:
    """The family of environments that EnvPool counts an id to, such as 'atari'."""
    return games.family(env).removeprefix("envpool.")


def _kind(outcome: Outcome) -> str:
    """The reason without what concerns this environment alone: its id, and details in brackets."""
    reason = outcome.reason.removeprefix("--env: ").removeprefix(f"{outcome.env} ")
    reason = reason.replace(outcome.env, "it").replace(sys.prefix, "...")
    return re.sub(r" \([^()]*\)", "", reason)


def by_family(outcomes: Iterable[Outcome]) -> Found:
    """Sorts ids by family, in alphabetical order, outcome and reason."""
    found: dict[str, dict[str, dict[str, list[str]]]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: family(outcome.env)):
        of_family = found.setdefault(family(outcome.env), {})
        reasons = of_family.setdefault(outcome.outcome, {})
        # No two failures are alike.
        reason = outcome.reason if outcome.outcome == FAILED else _kind(outcome)
        reasons.setdefault(reason, []).append(outcome.env)
    return found
