"""A script with which bash and zsh complete the command line of `jaxdqn`."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent import futures

from jaxdqn.envs import registry
from jaxdqn.rundir import agent_names
from jaxdqn.settings import presets, protocols, registries

# zsh runs completions of bash. Both see `--env=Bre` as three words, or as one.
_SCRIPT = """\
if [ -n "$ZSH_VERSION" ]; then autoload -U +X bashcompinit && bashcompinit; fi
_jaxdqn() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
  local flag="" words="" prefix="" files=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{programs}"
  else
    case "$word" in
      --*=*) flag="${{word%%=*}}"; prefix="$flag="; word="${{word#*=}}" ;;
      =) flag="$before"; word="" ;;
      *) [ "$before" = "=" ] && flag="${{COMP_WORDS[COMP_CWORD-2]}}" ;;
    esac
    case "$flag" in
      "") case "${{COMP_WORDS[1]}}" in
{flags}
          esac ;;
{values}
      --agent | --initial_agent) words="{agents}" files="-f" ;;
      *) COMPREPLY=($(compgen -P "$prefix" -f -- "$word")); return ;;
    esac
  fi
  COMPREPLY=($(compgen -P "$prefix" $files -W "$words" -- "$word"))
}}
complete -o nospace -F _jaxdqn jaxdqn"""


def script(programs: Sequence[str]) -> str:
    """The script.

    Args:
      programs: the first words of a command line, each a module of the package.
    """
    with futures.ThreadPoolExecutor() as pool:  # of processes that take a second each
        found = dict(zip(programs, pool.map(_flags, programs), strict=True))
    values = {
        "env": [*registry.plain_names()],
        "preset": [*presets.PRESETS],
        "protocol": [*protocols.PROTOCOLS],
        "track": ["wandb"],
        **{each.setting_name: [*each] for each in registries.ALL},
    }
    return _SCRIPT.format(
        programs=" ".join(programs),
        flags=_cases(found, 12),
        agents=" ".join(agent_names.built_in()),
        values=_cases({f"--{name}": names for name, names in values.items()}, 6),
    )


def _cases(words: Mapping[str, Sequence[str]], indent: int) -> str:
    cases = (f'{name}) words="{" ".join(found)}" ;;' for name, found in words.items())
    return "\n".join(f"{'':{indent}}{case}" for case in cases)


def _flags(name: str) -> list[str]:
    """The flags that a program's `--help` shows, as one types them: '--seed=', but '--json'."""
    command = [sys.executable, "-m", f"jaxdqn.{name}", "--help"]
    # The exit code of absl's --help is 1.
    shown = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    words = []
    for can_be_negated, flag in re.findall(r"^  --(\[no\])?(\w+)", shown, re.MULTILINE):
        words += [f"--{flag}", f"--no{flag}"] if can_be_negated else [f"--{flag}="]
    return words
