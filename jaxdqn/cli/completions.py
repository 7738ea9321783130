"""A script with which bash and zsh complete the command line of `jaxdqn`."""

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent import futures

from jaxdqn.envs import registry
from jaxdqn.rundir import agent_names
from jaxdqn.settings import config, presets, registries, setting

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
        shown = dict(zip(programs, pool.map(_help, programs), strict=True))
    known = setting.described(config.Config)
    values = {
        "env": registry.plain_names(),
        "preset": presets.PRESETS,
        **{name: one.allowed.choices for name, one in known.items() if one.allowed},
        **{each.setting_name: each for each in registries.ALL},
        **{name: found for text in shown.values() for name, found in _enums(text).items()},
    }
    return _SCRIPT.format(
        programs=" ".join(programs),
        flags=_cases({name: _flags(text) for name, text in shown.items()}, 12),
        agents=" ".join(agent_names.built_in()),
        values=_cases({f"--{name}": names for name, names in values.items() if names}, 6),
    )


def _cases(words: Mapping[str, Iterable[str]], indent: int) -> str:
    cases = (f'{name}) words="{" ".join(found)}" ;;' for name, found in words.items())
    return "\n".join(f"{'':{indent}}{case}" for case in cases)


def _help(name: str) -> str:
    """What a program's `--help` shows."""
    command = [sys.executable, "-m", f"jaxdqn.{name}", "--help"]
    # The exit code of absl's --help is 1.
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def _enums(text: str) -> dict[str, list[str]]:
    """The flags in a help text that take one of some names, and these names."""
    found = re.findall(r"^  --(\w+): <([\w|]+)>:", text, re.MULTILINE)
    return {flag: names.split("|") for flag, names in found}


def _flags(text: str) -> list[str]:
    """The flags in a help text as one types them: '--seed=', but '--json'."""
    words = []
    for can_be_negated, flag in re.findall(r"^  --(\[no\])?(\w+)", text, re.MULTILINE):
        words += [f"--{flag}", f"--no{flag}"] if can_be_negated else [f"--{flag}="]
    return words
