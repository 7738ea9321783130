"""All programs as one command, `jaxdqn` or `python -m jaxdqn`."""

import sys

from jaxdqn.cli import command


def main() -> None:
    """Runs the program that the command line names."""
    command.run(sys.argv[1:])


if __name__ == "__main__":
    main()
