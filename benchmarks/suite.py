r"""Runs a set of benchmarks, in pieces of less than ten minutes, and combines their reports.

  pip install -e '.[bench]' && python -m benchmarks.suite

Each piece is a separate process. `--pieces` selects some of them, for a machine that is available
for only minutes at a time. Arguments after `--` are passed to each piece. Afterwards
`benchmarks/results/` has a JSON and a Markdown report of all pieces that ran on this machine today.
"""

import contextlib
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

from absl import flags

from benchmarks import report
from jaxdqn import errors
from jaxdqn.cli import program

_LIMIT_S = 590
_ATARI = ("--env=Breakout", "--preset=atari")
_PIECES: dict[str, list[str]] = {
    "throughput": ["throughput", *_ATARI],
    "throughput-128-envs": ["throughput", *_ATARI, "--num_envs=128"],
    "throughput-fast": ["throughput", "--env=Breakout", "--preset=atari_fast"],
    "throughput-fast-float32": [
        "throughput",
        "--env=Breakout",
        "--preset=atari_fast",
        "--compute_dtype=float32",
    ],
    "scaling-num_envs": ["scaling", *_ATARI, "--sweeps=num_envs"],
    "scaling-batch_size": ["scaling", *_ATARI, "--sweeps=batch_size"],
    "scaling-replay_capacity": ["scaling", *_ATARI, "--sweeps=replay_capacity"],
    "scaling-devices": ["scaling", *_ATARI, "--sweeps=devices", "--rounds=1"],
    "scaling-processes": ["scaling", *_ATARI, "--sweeps=processes", "--rounds=1"],
    "replay": ["replay"],
    "replay-256": ["replay", "--num_envs=64", "--batch_size=256"],
    "startup": ["startup"],
}


class _Outcome(NamedTuple):
    """The outcome of a piece."""

    folder: pathlib.Path | None  # of this machine and day; None: nothing was measured
    complete: bool


def _run(name: str, results: pathlib.Path, passed_on: Sequence[str]) -> _Outcome:
    """Runs a piece and copies its results into the folder of this machine and day."""
    module, *arguments = _PIECES[name]
    print(f"== {name}", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as made:
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments, f"--out={made}"]
        command += passed_on
        # In its own session, so that processes started by a piece end with it: they hold the
        # device that the next piece needs.
        with subprocess.Popen(command, start_new_session=True) as process:
            try:
                code = process.wait(_LIMIT_S)
                told = f"code {code}" if code else "done"
            except subprocess.TimeoutExpired:
                told = f"stopped after {_LIMIT_S} s"
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        print(f"== {name}: {told}, {time.monotonic() - start:.0f} s", flush=True)
        found = [json.loads(path.read_text()) for path in pathlib.Path(made).glob("*.json")]
        if not found:
            return _Outcome(None, complete=False)
        folder = results / f"{report.machine(found[0]['hardware'])}_{found[0]['date']}"
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(made, folder / name)
    if told != "done":
        (folder / name / "incomplete").write_text(told + "\n")
    return _Outcome(folder, complete=told == "done")


def _report(folder: pathlib.Path) -> None:
    """Joins the results of all pieces."""
    found = {
        name: [json.loads(path.read_text()) for path in sorted((folder / name).glob("*.json"))]
        for name in _PIECES
    }
    parts = {name: results for name, results in found.items() if results}
    (folder / "report.json").write_text(json.dumps(parts, indent=1) + "\n")
    lines = [f"# Benchmarks: {folder.name}", ""]
    for name, results in parts.items():
        incomplete = folder / name / "incomplete"
        note = f" (incomplete: {incomplete.read_text().strip()})" if incomplete.exists() else ""
        for result in results:
            plots = sorted((folder / name).glob(f"{result['benchmark']}_*.png"))
            lines += [f"## {name}{note}", "", f"`{result['command']}`", "", *result["table"], ""]
            lines += [f"![{plot.stem}]({plot.relative_to(folder)})\n" for plot in plots]
    any_result = next(iter(parts.values()))[0]
    for title in ("hardware", "versions"):
        rows = any_result[title].items()
        lines += [f"## {title.capitalize()}", "", report.table((title, ""), rows), ""]
    (folder / "report.md").write_text("\n".join(lines))
    print(f"written to {folder / 'report.md'} and {folder / 'report.json'}")


def main(passed_on: Sequence[str]) -> int:
    """Runs the pieces that the flags name; fails if one of them fails."""
    if any(word.lstrip("-").partition("=")[0] == "out" for word in passed_on):
        raise errors.SettingError("out", "must be given before --")
    folder = report.out_folder()
    outcomes = [_run(name, folder, passed_on) for name in flags.FLAGS.pieces]
    for folder in sorted({outcome.folder for outcome in outcomes if outcome.folder}):
        _report(folder)
    return 0 if all(outcome.complete for outcome in outcomes) else 1


def _define_flags() -> None:
    flags.DEFINE_multi_enum("pieces", list(_PIECES), list(_PIECES), "pieces to run (default: all)")
    report.define_out()


if __name__ == "__main__":
    program.run_program(_define_flags, functools.partial(main, program.take_passed_on()))
