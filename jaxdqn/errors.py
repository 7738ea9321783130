"""The errors that a program prints as one line: a wrong setting, and anything else."""


class SettingError(ValueError):
    """An invalid setting. The message names it, its value and what would be right."""

    exit_code = 2

    def __init__(self, setting: str, problem: str):
        self.setting, self.problem = setting, problem
        super().__init__(setting, problem)

    def __str__(self) -> str:
        return f"--{self.setting}: {self.problem}"


class RunError(Exception):
    """A failure although the flags are right: one line, exit code 1."""

    exit_code = 1


class DivergedError(RunError):
    """An update was not finite. A run that resumes would only come to it again: exit code 3."""

    exit_code = 3


class EnvFailedError(RunError):
    """An environment failed in the middle of a game."""


class EnvNotStartedError(EnvFailedError):
    """Environments cannot be started now. A run that resumes may be able to."""
