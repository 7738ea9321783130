"""What is known of a comparison with peers: speeds, what was left out, and the table of them."""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

from benchmarks import clock, peer_installs, report
from jaxdqn import errors

NUM_ENVS = 32  # of jaxdqn


class Envs(NamedTuple):
    """An arrangement of a peer's environments."""

    num_envs: int
    processes: int  # 0: all in one process; 1: one for each environment

    def __str__(self) -> str:
        return f"{self.num_envs} environments" + (" in processes" if self.processes else "")


@dataclasses.dataclass
class Comparison:
    """The figures so far."""

    search: dict[str, dict[Envs, float]]  # steps/s of a peer's arrangements
    rounds: dict[str, list[float]]  # steps/s of jaxdqn and of peers, in each round
    versions: dict[str, Any]  # of a peer's packages
    left_out: dict[str, str]  # why, by what is left out

    def leave_out(self, what: str, error: errors.RunError) -> None:
        """Records and prints why something is not measured."""
        self.left_out[what] = str(error)
        peer_installs.print_left_out(what, error)

    def nothing_left(self) -> errors.RunError:
        """The error of a comparison without a peer: why the last one of each was left out."""
        reasons = {what.partition(",")[0]: reason for what, reason in self.left_out.items()}
        listed = "; ".join(f"{library}: {reason}" for library, reason in reasons.items())
        return errors.RunError(f"no peer is left: {listed}")

    def best(self) -> dict[str, Envs]:
        """The fastest arrangement of each peer, if it has one."""
        return {
            library: max(speeds, key=lambda envs: speeds[envs])
            for library, speeds in self.search.items()
            if speeds
        }

    def _rates(self) -> dict[str, clock.Rate]:
        return {name: clock.Rate.of(speeds) for name, speeds in self.rounds.items() if speeds}

    def _ratios(self) -> dict[str, clock.Rate]:
        """How many times as fast as each peer jaxdqn was within the same rounds."""
        # A peer that failed in a round has no later ones.
        pairs = {
            name: zip(self.rounds["jaxdqn"], speeds, strict=False)
            for name, speeds in self.rounds.items()
            if speeds and name != "jaxdqn"
        }
        return {name: clock.Rate.of([o / p for o, p in pair]) for name, pair in pairs.items()}

    def figures(self) -> dict[str, Any]:
        """The figures for the file."""
        return {
            "rates": {name: rate._asdict() for name, rate in self._rates().items()},
            "ratios": {name: ratio._asdict() for name, ratio in self._ratios().items()},
            "search": {
                library: {str(envs): speed for envs, speed in speeds.items()}
                for library, speeds in self.search.items()
            },
            "left_out": self.left_out,
            "peer_versions": self.versions,
        }

    def table(self, peers: Iterable[str]) -> str:
        """For people: a row for each of these peers, whether it was measured or not."""
        rates, ratios, best = self._rates(), self._ratios(), self.best()
        rows = [("jaxdqn", f"{NUM_ENVS} environments", _median(rates.get("jaxdqn")), "")]
        for name in dict.fromkeys(peers):
            ratio = f"{ratios[name].median:.2f} times" if name in ratios else ""
            rows.append((name, str(best.get(name, "-")), _median(rates.get(name)), ratio))
        head = ("library", "its best arrangement", "steps/s", "jaxdqn is faster")
        notes = [f"- {what}: {reason}" for what, reason in self.left_out.items()]
        return "\n".join([report.table(head, rows), *(["", "Left out:", *notes] if notes else [])])


def _median(rate: clock.Rate | None) -> float | str:
    return rate.median if rate else "-"
