r"""Compares training speed on the CPU with the DQNs of Stable-Baselines3 and SBX.

  python -m benchmarks.peers --env=Breakout

All use the same game, network, batch size, updates per step, optimizer, replay and target copies.
Double Q-learning is off, because the peers do not have it, and SBX does not clip gradients. The
first call installs each peer into its own virtual environment (3 GB), unless `--peer_python` names
a Python that has it. The benchmark first finds the best number of environments and processes for
each peer. Then it measures all in turn. Whatever cannot be measured is left out, and the table says
why.
"""

import pathlib
from collections.abc import Callable, Mapping

from absl import flags

from benchmarks import peer_comparison, peer_installs, peer_training, report
from jaxdqn import errors
from jaxdqn.cli import program
from jaxdqn.envs import api, registry
from jaxdqn.settings import presets

_ARRANGEMENTS = [
    *(peer_comparison.Envs(n, processes=0) for n in (1, 8, 16, 32)),
    *(peer_comparison.Envs(n, processes=1) for n in (8, 16, 32)),
]

Pythons = Mapping[str, pathlib.Path]  # by the name of the peer


def _peer_rate(
    found: peer_comparison.Comparison,
    python: pathlib.Path,
    library: str,
    envs: peer_comparison.Envs,
    seconds: float,
) -> float:
    """Steps/s of a peer; notes the versions of its packages.

    Raises:
      RunError: it fails, or does not train as jaxdqn does.
    """
    env = flags.FLAGS.env

    def train(longer: int) -> peer_training.Trained:
        trained = peer_training.peer(python, library, env, envs, longer * seconds)
        found.versions[library] = trained.versions
        return trained

    return peer_training.rate(env, train)


def _search(
    found: peer_comparison.Comparison, pythons: Pythons, keep: Callable[[], object]
) -> None:
    """Measures every arrangement of every peer once."""
    for library, python in pythons.items():
        found.search[library] = {}
        for envs in _ARRANGEMENTS:
            try:
                speed = _peer_rate(found, python, library, envs, flags.FLAGS.seconds / 2)
            except errors.RunError as error:
                found.leave_out(f"{library}, {envs}", error)
                continue
            found.search[library][envs] = speed
            keep()
            print(f"{library}, {envs}: {speed:.0f} steps/s", flush=True)


def _take_turns(
    found: peer_comparison.Comparison, pythons: Pythons, keep: Callable[[], object]
) -> None:
    """Measures jaxdqn and the best arrangement of each peer in several rounds.

    The first round, in which caches fill, does not count.

    Raises:
      RunError: jaxdqn cannot be measured, or no peer.
    """
    values, left = flags.FLAGS, found.best()
    found.rounds = {name: [] for name in ("jaxdqn", *left)}
    for number in range(values.rounds + 1):
        if not left:
            break
        taken = {
            "jaxdqn": peer_training.rate(
                values.env,
                lambda longer: peer_training.jaxdqn(values.env, longer * values.steps),
            )
        }
        for library, envs in list(left.items()):
            try:
                taken[library] = _peer_rate(found, pythons[library], library, envs, values.seconds)
            except errors.RunError as error:
                found.leave_out(f"{library}, after {max(0, number - 1)} rounds", error)
                del left[library]
        if number:
            for name, speed in taken.items():
                found.rounds[name].append(speed)
            keep()
    if not left:
        raise found.nothing_left()


def main() -> int:
    """Measures as the flags say and reports."""
    values = flags.FLAGS
    if registry.game(presets.resolve(values.env, "", {}).env).family != api.ATARI:
        raise errors.SettingError("env", f"is {values.env}; the peers only play Atari games")
    found, folder = peer_comparison.Comparison({}, {}, {}, {}), report.out_folder()
    pythons = peer_installs.pythons(
        values.peers, values.peer_python, values.peers_dir, found.leave_out
    )
    with report.Result(f"peers_{values.env}", folder) as result:

        def keep() -> None:
            result.keep(found.figures(), found.table(values.peers))

        _search(found, pythons, keep)
        _take_turns(found, pythons, keep)
        keep()
    return 0


def _define_flags() -> None:
    flags.DEFINE_string("env", "Breakout", "Atari game, by its plain name")
    report.define_flags()
    report.define_seconds(20.0, "seconds of a peer's training for each figure", at_least=1.0)
    flags.DEFINE_integer(
        "steps", 4_000, "steps of jaxdqn's training for each figure", lower_bound=400
    )
    names = ["stable_baselines3", "sbx"]  # those that `peer_dqn.py` trains
    flags.DEFINE_multi_enum("peers", names, names, "peers to compare with")
    peer_installs.define_flags()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
