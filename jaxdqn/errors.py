"""The two errors of which a program prints one line: a wrong setting, and anything else."""


class SettingError(ValueError):
    """A setting that cannot be: says which one, its value and what would be right."""

    def __init__(self, setting: str, problem: str):
        self.setting = setting
        super().__init__(f"--{setting}: {problem}")


class RunError(Exception):
    """What keeps a program from its work although its flags are right: one line, exit code 1."""
