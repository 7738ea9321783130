r"""Tries all environments that EnvPool lists: trains in each, or shows why `--env` refuses it.

  python -m benchmarks.environments
  python -m benchmarks.environments --families=classic_control,procgen
  python -m benchmarks.environments --envs=Breakout,Chess-v1

Each environment first goes through the checks of `jaxdqn.train`. If it passes, the real program
trains in it for 64 steps, in a separate process with a time limit. If the benchmark is interrupted,
the same command continues it; environments that failed are tried again. When all environments have
been tried, it also writes the page `docs/environments.md`.
"""

import concurrent.futures
import pathlib
import tempfile
from collections.abc import Sequence

from absl import flags

from benchmarks import environment_outcomes as outcomes_lib
from benchmarks import environment_page, environment_trials, forks, report
from jaxdqn import errors
from jaxdqn.cli import program
from jaxdqn.envs import api, registry
from jaxdqn.envs.envpool import games
from jaxdqn.rundir import provenance

_PAGE = pathlib.Path(__file__).parent.parent / "docs" / "environments.md"


def _walk(
    envs: Sequence[str], progress: outcomes_lib.Progress, workers: int, limit_s: float
) -> None:
    """Tries each environment that is not in `progress` yet."""
    left = [env for env in envs if env not in progress.outcomes]
    with tempfile.TemporaryDirectory() as name:
        folder, accepted = pathlib.Path(name), []
        for env, outcome in environment_trials.described(left, folder, limit_s):
            if outcome is None:
                accepted.append(env)
            else:
                progress.add(outcome)
        print(f"{len(left)} described, {len(accepted)} to be trained", flush=True)
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            trained = environment_trials.trained
            running = [pool.submit(trained, env, folder, limit_s) for env in accepted]
            try:
                for future in concurrent.futures.as_completed(running):
                    progress.add(future.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _chosen() -> list[str]:
    """The ids that the flags name.

    Raises:
      SettingError: one that does not exist.
    """
    values, ids = flags.FLAGS, games.all_ids()
    if values.envs and values.families:
        raise errors.SettingError("envs", "cannot be combined with --families")
    if values.envs:
        try:
            return [registry.resolve(name) for name in values.envs]
        except api.UnknownGameError as error:
            raise errors.SettingError("envs", str(error)) from None
    families = sorted({outcomes_lib.family(env) for env in ids})
    for name in values.families or []:
        if name not in families:
            raise errors.SettingError(
                "families", f"is {name!r}; must be some of {', '.join(families)}"
            )
    wanted = values.families or families
    return [env for env in ids if outcomes_lib.family(env) in wanted]


def main() -> int:
    """Tries environments as the flags say and reports; fails if an environment fails."""
    values = flags.FLAGS
    envs = _chosen()
    is_whole = not values.envs and not values.families
    forks.preload()
    folder = report.out_folder()
    progress = outcomes_lib.Progress(folder / "environments.partial.jsonl")
    _walk(envs, progress, values.workers, values.limit_s)
    outcomes = [progress.outcomes[env] for env in envs]
    found = outcomes_lib.by_family(outcomes)
    table = environment_page.table(found)
    failures = {each.env: each.reason for each in outcomes if each.outcome == outcomes_lib.FAILED}
    result = {
        "settings": dict(environment_trials.SETTINGS),
        "process_seconds": round(sum(outcome.seconds for outcome in outcomes), 1),
        "failures": failures,
        "environments": found,
    }
    name = "environments" if is_whole else "environments_some"
    report.finish(name, result, table, folder)
    page = pathlib.Path(values.page) if values.page else _PAGE if is_whole else None
    if page:
        page.write_text(environment_page.page(found, table, provenance.versions()))
        print(f"written to {page}")
    progress.end()
    for env, reason in failures.items():
        print(f"FAILED {env}: {reason}")
    return 1 if failures else 0


def _define_flags() -> None:
    flags.DEFINE_list(
        "envs", None, "names or ids of environments (default: all that EnvPool lists)"
    )
    flags.DEFINE_list(
        "families", None, "families of EnvPool, such as atari or mujoco.dmc (default: all)"
    )
    flags.DEFINE_integer(
        "workers", 1, "number of processes that train at the same time", lower_bound=1
    )
    flags.DEFINE_float("limit_s", 600.0, "time limit of each process in seconds", lower_bound=1.0)
    flags.DEFINE_string(
        "page",
        None,
        "Markdown page to write (default: docs/environments.md, if all environments are tried)",
    )
    report.define_out()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
