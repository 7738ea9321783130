r"""Measures the score that presets and peers reach in so many minutes of a machine's CPU.

  python -m benchmarks.time_to_score --variants=atari,atari:n_step=3 --minutes=45 --seeds=3

The clock of a run begins with the command: start-up and compilation count, evaluations do not.
Checkpoints are scored afterwards, in the conditions of the run's own evaluations. A variant is a
preset with changes, divided by colons; lists have plus signs (hidden_sizes=64+64). Seeds come one
after the other, and within a seed the variants and peers, so what is interrupted can be compared.
The same command goes on from there.

Curves over steps are true on a busy machine, and minutes are not. `--rate_rounds=3` measures the
rates of all variants and peers alone, in turn, at the end; their minutes then follow from steps. So
they do for earlier runs of presets, wherever they were made, whose own evaluations are their
scores:

  python -m benchmarks.time_to_score --runs=runs/Breakout-atari-seed0,runs/Breakout-laptop-seed0 \
    --rate_rounds=3

Peers play in environments of their own. `--peers=stable_baselines3 --peers=sb3_contrib` are a DQN
and a QR-DQN with the settings of RL Baselines3 Zoo. `--cleanrl_files=dqn_atari_jax.py` is a file of
CleanRL with its own settings, whose score is the mean of the last 30 returns of training. It runs
in the Python of `stable_baselines3`: name one that has what the file imports (`--peer_python`).
`--peer_steps=300000` scales the schedules of peers to so many steps; with `--rate_rounds`, give
them `--minutes` enough to make these steps on a busy machine.
"""

import functools
import itertools
import os
import pathlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from benchmarks import (
    earlier_runs,
    peer_installs,
    plots,
    rates_alone,
    report,
    score_curves,
    timed_peers,
    timed_runs,
)
from jaxdqn import errors
from jaxdqn.cli import paths, program
from jaxdqn.rundir import layout, trained_agent

_Curve = Callable[[timed_runs.Rate | None], score_curves.Curve]
_Curves = Mapping[str, Mapping[str, dict[int, _Curve]]]  # game -> variant or peer -> seed
_Rates = Mapping[str, Mapping[str, timed_runs.Rate]]  # game -> variant


def _known_rates(result: report.Result) -> dict[str, dict[str, timed_runs.Rate]]:
    """Those that the same command measured before, until they are measured again."""
    known = result.earlier().get("rates", {})
    return {game: {n: timed_runs.Rate(*one) for n, one in known[game].items()} for game in known}


def _common() -> dict[str, int]:
    """The settings of all runs, unless a variant changes them."""
    values = flags.FLAGS
    return {
        "eval_every_steps": 0,
        "eval_episodes": 0,
        "checkpoint_every_steps": values.checkpoint_every_steps,
        "keep_checkpoints": 1_000,
        "log_every_steps": values.log_every_steps,
    }


def _words(game: str, variant: timed_runs.Variant, seed: int) -> list[str]:
    """The flags of a run."""
    return [
        *(f"--{name}={value}" for name, value in _common().items()),
        f"--env={game}",
        f"--seed={seed}",
        *variant.words(),  # last, so that they win
    ]


def _rates(
    game: str, variants: Sequence[timed_runs.Variant], peers: Mapping[str, timed_peers.Peer]
) -> Iterator[dict[str, timed_runs.Rate]]:
    """The rates of variants and peers alone, after each round."""
    values = flags.FLAGS
    measures: dict[str, Callable[[], timed_runs.Rate]] = {}
    for one in variants:
        words = _words(game, one, 0)
        measures[one.name] = functools.partial(timed_runs.rate, words, values.rate_minutes)
    for name, peer in peers.items():
        arguments = (name, peer, game, values.rate_minutes, values.peer_steps)
        measures[name] = functools.partial(timed_peers.rate, *arguments)
    return rates_alone.medians(measures, values.rate_rounds)


def _keep(result: report.Result, known: _Curves, rates: _Rates, peers: Mapping[str, Any]) -> None:
    """Writes what is known so far: figures, tables, and a plot of each game."""
    curves = {
        game: {
            name: {seed: curve(rates.get(game, {}).get(name)) for seed, curve in seeds.items()}
            for name, seeds in learners.items()
        }
        for game, learners in known.items()
    }
    summaries = {game: score_curves.summaries(game, found) for game, found in curves.items()}
    points = {
        game: {
            name: {seed: curve.points for seed, curve in seeds.items()}
            for name, seeds in found.items()
        }
        for game, found in curves.items()
    }
    shown = score_curves.table(summaries)
    path = result.keep(
        {"rates": rates, "summaries": summaries, "points": points, "peers": peers}, shown
    )
    path.with_suffix(".md").write_text(f"{shown}\n")
    for game, found in points.items():
        plots.seeds(
            path.with_name(f"{path.stem}_{game}.png"),
            {
                name: [([p.minutes for p in one], [p.score for p in one]) for one in seeds.values()]
                for name, seeds in found.items()
            },
            xlabel="minutes",
            ylabel=f"mean return of {game}",
        )


def _peers() -> dict[str, timed_peers.Peer]:
    """The peers that the flags name and that can be installed."""
    values = flags.FLAGS

    scripts = [paths.usable("cleanrl_files", file).resolve() for file in values.cleanrl_files]
    for script in scripts:
        if not script.is_file():
            raise errors.SettingError("cleanrl_files", f"has {script}, which is not a file")
    wanted = ["stable_baselines3", *values.peers] if scripts else values.peers
    if not wanted:
        return {}
    pythons = peer_installs.pythons(wanted, values.peer_python, values.peers_dir)
    found = {
        name: timed_peers.stable_baselines3(name, pythons[name])
        for name in values.peers
        if name in pythons
    }
    for script in scripts:
        if python := pythons.get("stable_baselines3"):
            found[f"cleanrl_{script.stem}"] = timed_peers.cleanrl(script, python)
    return found


def _run_dir(
    runs_dir: pathlib.Path, game: str, variant: timed_runs.Variant, seed: int
) -> pathlib.Path:
    """Where a variant is trained.

    Raises:
      SettingError: what is there has learned by other settings.
    """
    name = re.sub(r"[^\w.=-]+", "_", variant.name)
    path = runs_dir / f"{game}-{name}-{flags.FLAGS.minutes:g}min-seed{seed}"
    if layout.read_settings(path) is None:
        return path
    usual = timed_runs.settings(variant, game, _common())
    if names := earlier_runs.changed(usual, trained_agent.read_config(path)):
        raise errors.SettingError(
            "runs_dir", f"has {path}, started with another {names}; must be another folder"
        )
    return path


def _learn(runs_dir: pathlib.Path, game: str, variant: timed_runs.Variant, seed: int) -> _Curve:
    """Trains and scores a variant; returns its curve, by its own clock or a rate."""
    values = flags.FLAGS
    path = _run_dir(runs_dir, game, variant, seed)
    timed_runs.train(path, _words(game, variant, seed), values.minutes)
    timed_runs.score(path, values.episodes)
    return lambda rate: score_curves.read(path, rate)


def _learn_as_peer(
    runs_dir: pathlib.Path, game: str, name: str, peer: timed_peers.Peer, seed: int
) -> dict[str, Any] | None:
    """Trains a peer; returns what `timed_peers.trained` does, None if it fails."""
    values = flags.FLAGS
    budget = timed_peers.Budget(
        values.minutes, values.peer_steps, values.checkpoint_every_steps, values.episodes
    )
    path = runs_dir / f"{game}-{name}-{budget.name()}-seed{seed}-{peer.digest()}.json"
    try:
        return timed_peers.trained(path, peer, game, seed, budget)
    except errors.RunError as error:
        print(f"{name}, seed {seed}: left out: {error}", flush=True)
        return None


def _variants(
    asked: Sequence[timed_runs.Variant], earlier: Sequence[earlier_runs.Earlier]
) -> dict[str, list[timed_runs.Variant]]:
    """All variants by game, those to be trained first.

    Raises:
      SettingError: an earlier run would be trained too.
    """
    values = flags.FLAGS
    found = {game: list(asked) for game in values.games if asked}
    for run in earlier:
        if run.variant in asked and run.game in values.games:
            raise errors.SettingError(
                "runs", f"has {run.path}; --variants must not have {run.variant.name} too"
            )
        if run.variant not in found.setdefault(run.game, []):
            found[run.game].append(run.variant)
    return found


def main() -> int:
    """Trains, scores and reports as the flags say."""
    values = flags.FLAGS
    earlier = earlier_runs.read(values.runs)
    texts = values.variants if values.runs is None or values["variants"].present else []
    asked = [timed_runs.variant(text, values.games) for text in texts]
    variants = _variants(asked, earlier)
    folder, runs_dir = report.out_folder(), paths.usable("runs_dir", values.runs_dir)
    if problem := report.why_not_written(runs_dir):
        raise errors.SettingError("runs_dir", problem)
    os.environ.update(report.on_cpu())  # as the runs
    peers = _peers()
    for game, seed, one in itertools.product(values.games, range(values.seeds), asked):
        _run_dir(runs_dir, game, one, seed)
    known: _Curves = defaultdict(lambda: defaultdict(dict))
    told: dict[str, Any] = {}  # of peers
    with report.Result("time_to_score", folder) as result:
        rates = _known_rates(result)
        for run in earlier:
            known[run.game][run.variant.name][run.seed] = run.curve
        if earlier:
            _keep(result, known, rates, told)
        for seed, game in itertools.product(range(values.seeds), values.games):
            for one in asked:
                known[game][one.name][seed] = _learn(runs_dir, game, one, seed)
                _keep(result, known, rates, told)
            for name, peer in peers.items():
                if found := _learn_as_peer(runs_dir, game, name, peer, seed):
                    told[name] = {key: found.get(key) for key in ("settings", "versions")}
                    known[game][name][seed] = functools.partial(timed_peers.curve, found)
                    _keep(result, known, rates, told)
        for game, learners in known.items() if values.rate_rounds else ():
            learned = {name: peer for name, peer in peers.items() if name in learners}
            for found in _rates(game, variants.get(game, ()), learned):
                _keep(result, known, rates := rates | {game: found}, told)
    return 0


def _define_flags() -> None:
    flags.DEFINE_list("games", ["Breakout"], "comma-separated games")
    flags.DEFINE_list(
        "variants",
        ["atari"],
        "comma-separated presets, each with :SETTING=VALUE; with --runs, none unless given",
    )
    flags.DEFINE_list("runs", None, "comma-separated folders of earlier runs to be shown too")
    flags.DEFINE_integer("seeds", 1, "seeds of each", lower_bound=1)
    flags.DEFINE_float("minutes", 45.0, "minutes of each run", lower_bound=0.01)
    flags.DEFINE_integer("episodes", 30, "games that score a checkpoint", lower_bound=2)
    flags.DEFINE_integer(
        "checkpoint_every_steps", 100_000, "steps between checkpoints", lower_bound=1
    )
    flags.DEFINE_integer(
        "log_every_steps", 2_000, "steps between looks at the clock", lower_bound=1
    )
    flags.DEFINE_integer(
        "rate_rounds", 0, "rounds in which rates are measured alone; 0: by the clock", lower_bound=0
    )
    flags.DEFINE_float(
        "rate_minutes", 3.0, "minutes of each such measurement, with its start-up", lower_bound=0.01
    )
    flags.DEFINE_multi_enum(
        "peers", [], ["stable_baselines3", "sb3_contrib"], "peers, one each time"
    )
    flags.DEFINE_list("cleanrl_files", [], "comma-separated files of CleanRL, in its repository")
    flags.DEFINE_integer(
        "peer_steps", 0, "steps that the schedules of peers are scaled to; 0: their own"
    )
    peer_installs.define_flags()
    flags.DEFINE_string("runs_dir", "runs/time_to_score", "folder of the runs")
    report.define_out()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
