r"""Trains on CartPole with every algorithm and head, several seeds each.

  python -m benchmarks.cartpole --variants=dqn,c51 --seeds=3

A run has solved CartPole when a checkpoint's mean return over 100 games is 475 or more. The table
gives the step at which each seed first did, the best and the last mean return.
"""

import pathlib
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from benchmarks import report
from jaxdqn import errors
from jaxdqn.cli import program
from jaxdqn.rundir import metrics

SOLVED = 475.0
# Rewards count a tenth, and a discount of 0.99 makes returns of at most 10.
_ATOMS = {"value_min": 0.0, "value_max": 10.0}
_PRIORITIZED = {"sampler": "prioritized"}
_NOISY = {"noisy": True, "epsilon_start": 0.0, "epsilon_end": 0.0}
_C51 = {"head": "c51", **_ATOMS}
# New fractions are drawn for each update, and each costs a pass of the last layers.
_IQN = {"head": "iqn", "num_quantiles": 8}

# Settings of each variant, in addition to those of the preset `classic`.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "double_dqn": {},
    "dqn": {"double_q": False},
    "dueling": {"dueling": True},
    "prioritized": _PRIORITIZED,
    "noisy": _NOISY,
    "c51": _C51,
    "hl_gauss": {"head": "hl_gauss", **_ATOMS},
    "qr_dqn": {"head": "qr", "num_quantiles": 32},
    "iqn": _IQN,
    "munchausen": {"algorithm": "munchausen"},
    "m_iqn": {"algorithm": "munchausen", **_IQN},
    "rainbow": {**_C51, **_PRIORITIZED, **_NOISY, "dueling": True},
    "pqn": {"preset": "classic_pqn"},
}


def learn(variant: str, seed: int, more: Sequence[str] = ()) -> dict[str, Any]:
    """Trains once.

    Args:
      variant: of `VARIANTS`.
      seed: of the run.
      more: further flags of `jaxdqn.train`.

    Returns:
      `evaluations`: (step, mean return over 100 games) of each checkpoint. `solved_step`: of the
      first that solves the game, None if none does. `best` and `last`: mean returns.

    Raises:
      RunError: the run fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        base = {"env": "CartPole", "preset": "classic", "run_dir": folder, "seed": seed}
        settings = {**base, **VARIANTS[variant]}
        words = [f"--{name}={value}" for name, value in settings.items()]
        command = [sys.executable, "-m", "jaxdqn.train", *words, *more]
        report.run(command, env=report.on_cpu())
        rows = metrics.scored(metrics.read(pathlib.Path(folder, metrics.FILE)))
    means = [(row["step"], row["eval_return_mean"]) for row in rows]
    return {
        "evaluations": means,
        "solved_step": next((step for step, mean in means if mean >= SOLVED), None),
        "best": max(mean for _, mean in means),
        "last": means[-1][1],
    }


def table(found: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> str:
    """One row for each variant, with its seeds in order."""
    rows = []
    for variant, runs in found.items():
        solved = [run["solved_step"] for run in runs.values()]
        rows.append(
            (
                variant,
                f"{sum(step is not None for step in solved)} of {len(solved)}",
                ", ".join("-" if step is None else f"{step:,}" for step in solved),
                ", ".join(f"{run['best']:.1f}" for run in runs.values()),
                statistics.fmean(run["last"] for run in runs.values()),
            )
        )
    return report.table(("variant", "solved", "at step", "best", "mean of the last"), rows)


def main() -> int:
    """Trains as the flags say and reports."""
    values = flags.FLAGS
    if unknown := [name for name in values.variants if name not in VARIANTS]:
        raise errors.SettingError("variants", f"has {unknown[0]}; must be of {', '.join(VARIANTS)}")
    folder = report.out_folder()
    found: dict[str, dict[int, dict[str, Any]]] = {}
    with report.Result("cartpole", folder) as result:
        for variant in dict.fromkeys(values.variants or VARIANTS):
            found[variant] = {}
            for seed in range(values.seeds):
                one = found[variant][seed] = learn(variant, seed, values.more)
                result.keep({"settings": VARIANTS, "runs": found}, table(found))
                step = one["solved_step"]
                when = "not solved" if step is None else f"solved at step {step:,}"
                print(f"{variant}, seed {seed}: {when}, best {one['best']:.1f}", flush=True)
    return 0


def _define_flags() -> None:
    flags.DEFINE_list("variants", [], "comma-separated variants (default: all)")
    flags.DEFINE_integer("seeds", 3, "number of seeds, from 0 on", lower_bound=1)
    flags.DEFINE_multi_string("more", [], "another flag of the runs, such as --more=--n_step=3")
    report.define_out()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
