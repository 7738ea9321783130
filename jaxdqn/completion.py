r"""Prints the completion of `jaxdqn` for bash or zsh.

  jaxdqn completion > ~/.jaxdqn-completion
  source ~/.jaxdqn-completion    # in .bashrc or .zshrc

The shell then completes programs, flags, and the values of some of them. Making the script takes
many seconds; it is needed again only after an update.
"""

from jaxdqn.cli import command, completions, program


def main() -> int:
    """Prints the script."""
    print(completions.script(list(command.PROGRAMS)))
    return 0


if __name__ == "__main__":
    program.run_program(lambda: None, main)
