"""The images for containers, as far as they can be checked without building them."""

import fnmatch
import importlib.metadata
import importlib.util
import json
import re
import shlex
import tomllib

import pytest
from packaging import specifiers

from tests import program

ROOT = program.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGES = ("launch/cpu/Dockerfile", "launch/k8s/Dockerfile")


def instructions(text):
    """What a Dockerfile says: each instruction with its text, in order."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def read(image):
    return instructions((ROOT / image).read_text())


def all_of(found, name):
    return [text for instruction, text in found if instruction == name]


def copied(found):
    """The files and folders of the repository that an image gets."""
    return [source for text in all_of(found, "COPY") for source in text.split()[:-1]]


def commands(found):
    """The commands that are run while an image is built, as words."""
    lines = all_of(found, "RUN")
    return [shlex.split(command) for line in lines for command in line.split("&&")]


def is_ignored(path):
    """Whether Docker leaves a file of the repository's own folder out; the last rule counts."""
    ignored = False
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if rule and not rule.startswith("#") and fnmatch.fnmatch(path, rule.removeprefix("!")):
            ignored = not rule.startswith("!")
    return ignored


def test_a_dockerfile_is_read_as_docker_reads_it():
    text = "# one\nFROM a:1\n\nRUN b \\\n  # two\n    && c\nCOPY d e f\n"
    found = instructions(text)
    assert found == [("FROM", "a:1"), ("RUN", "b      && c"), ("COPY", "d e f")]
    assert commands(found) == [["b"], ["c"]] and copied(found) == ["d", "e"]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_starts_from_a_python_that_is_supported(image):
    (base,) = all_of(read(image), "FROM")
    version = re.fullmatch(r"python:(3\.\d+)-slim", base)[1]  # a version of its own, never latest
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
    assert version in specifiers.SpecifierSet(PROJECT["requires-python"])


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_gets_all_that_it_is_installed_from(image):
    sources = copied(read(image))
    for source in sources:
        assert (ROOT / source).exists() and not is_ignored(source), source
    needed = {"pyproject.toml", "requirements.lock", "jaxdqn", PROJECT["readme"]}
    assert needed | set(PROJECT["license-files"]) == set(sources)
    assert is_ignored("runs") and is_ignored(".git")


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_installs_what_there_is(image):
    found = read(image)
    text = (ROOT / image).read_text()
    (install,) = (words for words in commands(found) if words[:2] == ["pip", "install"])
    assert "--no-cache-dir" in install
    assert install[install.index("-c") + 1] in copied(found)
    values = dict(text.split("=") for text in all_of(found, "ARG"))
    named = [re.fullmatch(r"(.+)\[(.+)\]", word) for word in install if word.endswith("]")]
    extras = {one[1]: one[2] for one in named}
    own = re.sub(r"\$\{(\w+)\}", lambda name: values[name[1]], extras.pop("."))
    for extra in (own, *re.findall(r"EXTRA=(\w+)", text)):  # also those that comments name
        assert extra in PROJECT["optional-dependencies"]
    for package, extra in extras.items():
        assert extra in importlib.metadata.metadata(package).get_all("Provides-Extra")


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_what_programs_need_and_leaves_no_lists_of_packages(image):
    (line,) = (text for text in all_of(read(image), "RUN") if "apt-get" in text)
    assert line.startswith("apt-get update && apt-get install --yes --no-install-recommends ")
    assert line.endswith("&& rm -rf /var/lib/apt/lists/*")
    assert {"g++", "libegl1", "libopengl0", "tini"} <= set(line.split())


@pytest.mark.parametrize("image", IMAGES)
def test_a_container_starts_a_program_as_a_user_without_rights(image):
    found = read(image)
    *_, user = all_of(found, "USER")
    assert [words[-1] for words in commands(found) if words[0] == "useradd"] == [user]
    assert [name for name, _ in found].index("USER") > max(
        i for i, (name, _) in enumerate(found) if name in ("RUN", "COPY")
    )
    (entry,) = all_of(found, "ENTRYPOINT")
    init, dashes, *started = json.loads(entry)
    assert (init, dashes) == ("tini", "--")
    if started[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(started[2])
    else:
        assert started[0] in PROJECT["scripts"]


def test_the_image_for_laptops_keeps_runs_and_caches_where_its_user_may_write():
    found = read("launch/cpu/Dockerfile")
    folder = all_of(found, "WORKDIR")[-1]
    (made,) = (words for words in commands(found) if words[0] == "install")
    assert made[-1] == folder and "--owner=trainer" in made
    assert all_of(found, "ENV") == [f"XDG_CACHE_HOME={folder}/.cache"]
    told = (ROOT / "launch" / "cpu" / "Dockerfile").read_text()
    assert f"-v jaxdqn:{folder} " in told
