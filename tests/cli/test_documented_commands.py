"""The commands in the README and in docs/: their programs take them, and what they name exists."""

import pathlib
import re
import shlex
import tomllib

import pytest

from tests import program

PAGES = sorted([*program.ROOT.glob("*.md"), *(program.ROOT / "docs").glob("*.md")])
# Parses the command line as the program does, checks the settings of a run, and goes no further.
PARSE_ONLY = """
from absl import flags
from jaxdqn.cli import program, setting_flags
from jaxdqn.settings import presets

def check():
    if "list_presets" in flags.FLAGS and not flags.FLAGS.list_presets:
        given = setting_flags.given_settings()
        presets.resolve(given.pop("env", "") or "", given.pop("preset", "") or "", given)
    return 0

run_program = program.run_program
program.run_program = lambda define, main, **kinds: run_program(define, check, **kinds)
"""


def commands(page: pathlib.Path):
    """Every command in a page's blocks of shell, as words."""
    for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s(?:&&|\||>)\s", line):
                if words := shlex.split(part, comments=True):
                    yield words


def module_of(words):
    """The program that a command starts, with its flags; None if it is not one of ours."""
    if words[0] == "jaxdqn":
        return f"jaxdqn.{words[1]}", words[2:]
    if words[:2] == ["python", "-m"] and words[2].partition(".")[0] in (
        *("jaxdqn", "launch", "benchmarks"),
    ):
        return words[2], words[3:]
    return None


STARTED = [
    pytest.param(*found, id=f"{page.stem}:{' '.join(words)}")
    for page in PAGES
    for words in commands(page)
    if "--help" not in words and (found := module_of(words))
]


def test_there_are_commands():
    assert len(STARTED) > 30


@pytest.mark.parametrize(("module", "flags"), STARTED)
def test_a_program_takes_its_documented_flags(module, flags):
    flags = [re.sub("=my_[a-z]+:.*", "=gymnasium:CartPole-v1", flag) for flag in flags]
    examples = program.ROOT / "examples"  # where the module of an environment lies
    parsed = program.Program(module, flags, driver=PARSE_ONLY, cwd=examples)
    _, problems = parsed.end()
    assert parsed.returncode == 0, problems


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_commands_name_exists(page):
    project = tomllib.loads((program.ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    for words in commands(page):
        named = {
            extra
            for word in words
            for part in re.findall(r"^\.\[(.*)\]$", word)
            for extra in part.split(",")
        }
        assert named <= extras, words
        if words[0] == "cd":
            assert (program.ROOT / words[1]).is_dir(), words
        for word in words:
            if word.startswith(("launch/", "docs/", "examples/", "benchmarks/")):
                assert (program.ROOT / word).exists(), words
