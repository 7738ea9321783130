"""Where figures go: a table on the terminal, JSON and Markdown in `benchmarks/results/`."""

import datetime
import json
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from absl import flags

from jaxdqn.runtime import provenance

RESULTS = pathlib.Path(__file__).parent / "results"


def define_flags(rounds: int = 5) -> None:
    """Defines the flags that the benchmarks share."""
    flags.DEFINE_integer(
        "rounds", rounds, "rounds that count, after one that does not", lower_bound=1
    )
    define_out()


def define_out() -> None:
    """Defines the flag for the folder of results."""
    flags.DEFINE_string("out", None, "folder of the results (default: benchmarks/results)")


def machine(hardware: dict[str, Any]) -> str:
    """A short name of the hardware for file names, such as '2core-amd-epyc'."""
    kinds = [kind for kind in hardware["devices"] if kind != "cpu"]
    name = f"{len(kinds)}x {kinds[0]}" if kinds else hardware["cpu"]
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{hardware['cores']}core-{words}"


def finish(
    name: str,
    result: dict[str, Any],
    shown: str,
    folder: str | None,
    made_with: dict[str, Any] | None = None,
) -> pathlib.Path:
    """Prints a benchmark's table and writes its result; returns the file.

    Args:
      name: the first part of the file's name, before the machine and the date.
      result: figures by name.
      shown: the table.
      folder: where to; None for `benchmarks/results`.
      made_with: its `versions` and `hardware`, where another process measured: asking here would
        take the devices away from the next one.
    """
    made_with = made_with or {
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
    }
    today = datetime.date.today().isoformat()
    stem = f"{name}_{machine(made_with['hardware'])}_{today}"
    path = pathlib.Path(folder or RESULTS) / f"{stem}.json"
    whole = {
        "benchmark": name,
        "command": f"python -m {_module()} {shlex.join(sys.argv[1:])}".strip(),
        "date": today,
        **made_with,
        **result,
        "table": shown.splitlines(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1) + "\n")
    print(f"{shown}\nwritten to {path}", flush=True)
    return path


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else pathlib.Path(sys.argv[0]).name


def run(command: Sequence[Any], **options: Any) -> str:
    """What a program prints. Its failure ends this one, and shows what it had to say of that."""
    done = subprocess.run(
        [str(word) for word in command], check=False, capture_output=True, text=True, **options
    )
    if done.returncode:
        print(done.stderr, end="", file=sys.stderr)
        sys.exit(f"error: {shlex.join(map(str, command))} failed with code {done.returncode}")
    return done.stdout


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, padded so that it reads well on a terminal too."""
    cells = [list(head), *([_shown(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
