"""`jaxdqn PROGRAM`, which is `python -m jaxdqn.PROGRAM`."""

import difflib
import importlib.util
import runpy
import sys
from collections.abc import Mapping, Sequence

PROGRAMS: Mapping[str, str] = {
    "train": "train a deep Q-network, or resume a run",
    "evaluate": "score a trained agent",
    "record": "film a trained agent",
    "inspect": "show what a trained agent sees and values",
    "export": "write a trained agent as ONNX, StableHLO or safetensors",
    "publish": "push a trained agent to the Hugging Face Hub",
    "report": "compare runs on one page",
    "doctor": "check what is installed, and what is missing",
    "completion": "print the completion of this command for a shell",
}


def run(words: Sequence[str]) -> None:
    """Runs a program with its flags, or prints what there is.

    Args:
      words: the command line without the name of the command.
    """
    name, *rest = words or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_help())
        return
    if name == "--version":
        from jaxdqn import __version__

        print(f"jaxdqn {__version__}")
        return
    if name not in PROGRAMS:
        near = difflib.get_close_matches(name, PROGRAMS, n=1) or ["--help"]
        print(f"error: no program {name!r}; nearest: jaxdqn {near[0]}", file=sys.stderr)
        sys.exit(2)
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does: modules of one's own are found here
    sys.argv = [f"jaxdqn {name}", *rest]
    runpy.run_module(f"jaxdqn.{name}", run_name="__main__", alter_sys=True)


def _help() -> str:
    width = max(map(len, PROGRAMS))
    lines = ["Usage: jaxdqn PROGRAM [--flag=value ...]", ""]
    lines += [f"  {name:<{width}}  {text}" for name, text in PROGRAMS.items()]
    lines += ["", "jaxdqn PROGRAM --help lists the flags of a program. To begin:", ""]
    lines += ["  jaxdqn train --env=CartPole"]
    if importlib.util.find_spec("launch") is None:
        lines += ["", "The launchers (launch/) and benchmarks (benchmarks/) are in the repository."]
    return "\n".join(lines)
