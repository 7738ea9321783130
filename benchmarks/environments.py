r"""Walks through the environments that EnvPool lists: each one trains, or is refused in one line.

  python -m benchmarks.environments
  python -m benchmarks.environments --families=classic_control,procgen
  python -m benchmarks.environments --envs=Breakout,Chess-v1

Each environment is described first, by the checks of `jaxdqn.train`. What passes them trains for 64
steps, by the real program, in a process of its own with a limit on its time. A walk that was cut
off goes on where it was, and one with failures takes those again. A whole walk writes the page
`docs/environments.md` too.
"""

import atexit
import collections
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import re
import runpy
import sys
import tempfile
import textwrap
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from benchmarks import report
from jaxdqn import errors
from jaxdqn.cli import program
from jaxdqn.envs import api, registry
from jaxdqn.envs.envpool import games
from jaxdqn.rundir import layout, metrics, provenance
from jaxdqn.settings import presets
from jaxdqn.training import setup

_STEPS, _UPDATES = 64, 8
_SETTINGS: Mapping[str, Any] = {
    "num_envs": 2,
    "total_steps": _STEPS,
    "learning_starts_steps": _STEPS // 2,
    "steps_per_update": _STEPS // 2 // _UPDATES,
    "batch_size": 8,
    "replay_capacity": _STEPS,
    "log_every_steps": _STEPS,
    "eval_episodes": 0,  # whole games, which may be long
    "checkpoint_every_steps": 0,  # only at the end
    "held_out_observations": 0,
}
_CHUNK = 100  # environments that one process describes
_OUTCOMES = _TRAINED, _REFUSED, _FAILED = "trained", "refused", "failed"
_PAGE = pathlib.Path(__file__).parent.parent / "docs" / "environments.md"
_INTRODUCTION = f"""
# Environments

The environments of EnvPool that `--env` takes, and why it refuses the others. This page is written
by `python -m benchmarks.environments`: each environment either trained for {_STEPS} steps in a
process of its own or was refused in one line.
"""

# Processes are forked from one that has imported the libraries and done nothing yet: that takes
# most of the time of a short run.
_FORKS = multiprocessing.get_context("forkserver")
_LIBRARIES = ("envpool", "flax.linen", "optax", "orbax.checkpoint", "jaxdqn.training.run")


class _Outcome(NamedTuple):
    """What became of an environment."""

    env: str  # its id
    outcome: str  # trained, refused or failed
    reason: str = ""  # of a refusal or a failure, in one line
    seconds: float = 0.0


class _Progress:
    """The outcomes so far, kept in a file from which the next walk goes on.

    Args:
      path: the file; one of other versions is not gone on with.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self.outcomes: dict[str, _Outcome] = {}
        head = json.dumps(provenance.versions())
        lines = path.read_text().splitlines() if path.exists() else []
        if lines[:1] != [head]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{head}\n")
        for line in lines[1:] if lines[:1] == [head] else []:
            try:
                self._keep(_Outcome(*json.loads(line)))
            except ValueError:  # cut off with the walk
                continue

    def _keep(self, outcome: _Outcome) -> None:
        if outcome.outcome == _FAILED:
            self.outcomes.pop(outcome.env, None)  # it is taken again
        else:
            self.outcomes[outcome.env] = outcome

    def add(self, outcome: _Outcome) -> None:
        """Notes an outcome, and prints what is no refusal."""
        self.outcomes[outcome.env] = outcome
        with self._path.open("a") as file:
            file.write(json.dumps(outcome) + "\n")
        if outcome.outcome != _REFUSED:
            told = f"{outcome.env}: {outcome.outcome}, {outcome.seconds:.1f} s"
            print(f"{told}: {outcome.reason}" if outcome.reason else told, flush=True)

    def end(self) -> None:
        """Forgets what is complete; failures are kept, for a walk that takes them again."""
        if all(outcome.outcome != _FAILED for outcome in self.outcomes.values()):
            self._path.unlink()


def _redirect(number: int, path: pathlib.Path) -> None:
    """Lets this process, and native code in it, print into a file."""
    with path.open("ab") as file:
        os.dup2(file.fileno(), number)


def _describe(envs: Sequence[str], folder: pathlib.Path, told: pathlib.Path) -> None:
    """Writes a line into `told` for each environment: null when the checks let it pass.

    Otherwise the line is a pair of outcome and reason.
    """
    log = folder / "log"
    _redirect(1, log)
    _redirect(2, log)
    with told.open("a", buffering=1) as file:
        for env in envs:
            size = log.stat().st_size
            outcome: tuple[str, str] | None = None
            try:
                settings = presets.resolve(env, "", _SETTINGS)
                setup.prepare(
                    settings, path=folder / "run", overwrite=False, capacity_chosen_by_user=True
                )
            except errors.SettingError as error:
                outcome = _REFUSED, " ".join(str(error).split())
            except Exception:
                outcome = _FAILED, traceback.format_exc().splitlines()[-1]
            if log.stat().st_size > size:
                outcome = _FAILED, "prints something while it is described"
            file.write(json.dumps(outcome) + "\n")


def _train(env: str, folder: pathlib.Path) -> None:
    """What `python -m jaxdqn.train` does, in a forked process; ends it."""
    _redirect(1, folder / "stdout")
    _redirect(2, folder / "stderr")
    settings = {**_SETTINGS, "env": env, "run_dir": folder / "run"}
    sys.argv = ["jaxdqn.train", *(f"--{name}={value}" for name, value in settings.items())]
    code: str | int | None = 1
    try:
        runpy.run_module("jaxdqn.train", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(bool(code)))


def _ended(target: Any, args: tuple[Any, ...], limit_s: float) -> str:
    """Runs a function in a process of its own; returns what went wrong with the process."""
    process = _FORKS.Process(target=target, args=args)
    process.start()
    process.join(limit_s)
    if process.exitcode is None:
        process.kill()
        process.join()
        return f"no end within {limit_s:g} s"
    code = process.exitcode
    return f"died of signal {-code}" if code < 0 else f"ended with code {code}" if code else ""


def _described(
    envs: Sequence[str], folder: pathlib.Path, limit_s: float
) -> Iterator[tuple[str, _Outcome | None]]:
    """Yields each environment with its outcome; None when it passed the checks."""
    left = list(envs)
    while left:
        chunk, begun = left[:_CHUNK], time.monotonic()
        with tempfile.TemporaryDirectory(dir=folder) as name:
            told = pathlib.Path(name, "told")
            told.touch()
            wrong = _ended(_describe, (chunk, pathlib.Path(name), told), limit_s)
            lines = told.read_text().splitlines()
        seconds = (time.monotonic() - begun) / max(1, len(lines))
        for env, line in zip(chunk, lines, strict=False):
            found = json.loads(line)
            yield env, _Outcome(env, found[0], found[1], seconds) if found else None
        if len(lines) < len(chunk):  # the process ended with the next one
            env = chunk[len(lines)]
            yield env, _Outcome(env, _FAILED, f"{wrong} while it was described", seconds)
        left = left[min(len(chunk), len(lines) + 1) :]


def _trained(env: str, folder: pathlib.Path, limit_s: float) -> _Outcome:
    """Trains in one environment."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = pathlib.Path(name)
        wrong = _ended(_train, (env, place), limit_s) or _missing(place / "run")
        errors = place / "stderr"
        lines = errors.read_text(errors="replace").splitlines() if errors.exists() else []
    seconds = time.monotonic() - begun
    if lines:
        wrong = f"{wrong or 'has an error to tell of'}: {lines[-1]}"
    return _Outcome(env, _FAILED if wrong else _TRAINED, wrong, seconds)


def _missing(run: pathlib.Path) -> str:
    """What a complete run lacks."""
    rows = metrics.training(metrics.read(run / metrics.FILE))
    if not rows or rows[-1]["step"] < _STEPS or rows[-1]["updates"] < _UPDATES:
        return f"did not train {_STEPS} steps with {_UPDATES} updates"
    return "" if list((run / layout.CHECKPOINTS).iterdir()) else "left no checkpoint"


def _walk(envs: Sequence[str], progress: _Progress, workers: int, limit_s: float) -> None:
    """Finds out what becomes of each environment that is not in `progress` yet."""
    left = [env for env in envs if env not in progress.outcomes]
    with tempfile.TemporaryDirectory() as name:
        folder, accepted = pathlib.Path(name), []
        for env, outcome in _described(left, folder, limit_s):
            if outcome is None:
                accepted.append(env)
            else:
                progress.add(outcome)
        print(f"{len(left)} described, {len(accepted)} to be trained", flush=True)
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            running = [pool.submit(_trained, env, folder, limit_s) for env in accepted]
            try:
                for future in concurrent.futures.as_completed(running):
                    progress.add(future.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _family(env: str) -> str:
    return games.family(env).removeprefix("envpool.")


def _kind(outcome: _Outcome) -> str:
    """The reason without what is of one environment alone: its name, and details in brackets."""
    reason = outcome.reason.removeprefix("--env: ").removeprefix(f"{outcome.env} ")
    reason = reason.replace(outcome.env, "it").replace(sys.prefix, "...")
    return re.sub(r" \([^()]*\)", "", reason)


def _by_family(outcomes: Iterable[_Outcome]) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Family -> outcome -> reason -> ids, in alphabetical order of families."""
    found: dict[str, dict[str, dict[str, list[str]]]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: _family(outcome.env)):
        of_family = found.setdefault(_family(outcome.env), {})
        reasons = of_family.setdefault(outcome.outcome, {})
        # Each failure is one of its own.
        reason = outcome.reason if outcome.outcome == _FAILED else _kind(outcome)
        reasons.setdefault(reason, []).append(outcome.env)
    return found


def _table(found: Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]]) -> str:
    counts = {
        family: {name: sum(map(len, reasons.values())) for name, reasons in outcomes.items()}
        for family, outcomes in found.items()
    }
    total: collections.Counter[str] = collections.Counter()
    for count in counts.values():
        total.update(count)
    rows = [
        (family, sum(count.values()), *(count.get(name, 0) for name in _OUTCOMES))
        for family, count in [*counts.items(), ("all", total)]
    ]
    return report.table(("family", "ids", *_OUTCOMES), rows)


def _page(found: Mapping[str, Any], table: str, versions: Mapping[str, str | None]) -> str:
    """The page of a whole walk: a table by family, the reasons, and every id once."""
    lines = [
        _INTRODUCTION.strip(),
        f"\nThe ids are those of EnvPool {versions['envpool']}; other versions may have others.",
        f"\n{table}\n\n## Reasons for refusal\n",
    ]
    reasons: collections.Counter[str] = collections.Counter()
    for outcomes in found.values():
        reasons.update({why: len(ids) for why, ids in outcomes.get(_REFUSED, {}).items()})
    rows = [(why.replace("|", "\\|"), count) for why, count in reasons.most_common()]
    lines += [report.table(("refused because it", "ids"), rows), ""]
    for family, outcomes in found.items():
        lines.append(f"## {family}\n")
        for name in _OUTCOMES:
            for reason, ids in outcomes.get(name, {}).items():
                because = f" ({reason})" if reason else ""
                text = f"{name.capitalize()}{because}: {', '.join(ids)}"
                lines += [textwrap.fill(text, 100, break_on_hyphens=False), ""]
    return "\n".join(lines)


def _chosen() -> list[str]:
    """The ids that the flags name.

    Raises:
      SettingError: one that does not exist.
    """
    values, ids = flags.FLAGS, games.all_ids()
    if values.envs and values.families:
        raise errors.SettingError("envs", "and --families do not go together")
    if values.envs:
        try:
            return [registry.resolve(name) for name in values.envs]
        except api.UnknownGameError as error:
            raise errors.SettingError("envs", str(error)) from None
    families = sorted({_family(env) for env in ids})
    for name in values.families or []:
        if name not in families:
            raise errors.SettingError("families", f"is {name!r}; some of {', '.join(families)}")
    return [env for env in ids if not values.families or _family(env) in values.families]


def main() -> int:
    """Walks as the flags say and reports; fails when an environment does."""
    values = flags.FLAGS
    envs = _chosen()
    is_whole = not values.envs and not values.families
    _FORKS.set_forkserver_preload(list(_LIBRARIES))
    folder = report.out_folder()
    progress = _Progress(folder / "environments.partial.jsonl")
    _walk(envs, progress, values.workers, values.limit_s)
    outcomes = [progress.outcomes[env] for env in envs]
    found = _by_family(outcomes)
    table = _table(found)
    failures = {one.env: one.reason for one in outcomes if one.outcome == _FAILED}
    result = {
        "settings": dict(_SETTINGS),
        "process_seconds": round(sum(outcome.seconds for outcome in outcomes), 1),
        "failures": failures,
        "environments": found,
    }
    name = "environments" if is_whole else "environments_some"
    report.finish(name, result, table, folder)
    page = pathlib.Path(values.page) if values.page else _PAGE if is_whole else None
    if page:
        page.write_text(_page(found, table, provenance.versions()))
        print(f"written to {page}")
    progress.end()
    for env, reason in failures.items():
        print(f"FAILED {env}: {reason}")
    return 1 if failures else 0


def _define_flags() -> None:
    flags.DEFINE_list("envs", None, "names or ids (default: all that EnvPool lists)")
    flags.DEFINE_list("families", None, "of EnvPool, such as atari or mujoco.dmc (default: all)")
    flags.DEFINE_integer("workers", 1, "processes that train side by side", lower_bound=1)
    flags.DEFINE_float("limit_s", 600.0, "seconds after which a process is ended", lower_bound=1.0)
    flags.DEFINE_string("page", None, "the Markdown page (default: a whole walk's in docs/)")
    report.define_out()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
