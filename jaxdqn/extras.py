"""The package's extras, and what installs those that are missing."""

import importlib.metadata
import itertools

from packaging import requirements


def known() -> list[str]:
    """The names of all extras; none where the package is run from a copy of its sources."""
    try:
        about = importlib.metadata.metadata("jaxdqn")
    except importlib.metadata.PackageNotFoundError:
        return []
    return about.get_all("Provides-Extra") or []


def missing(extra: str) -> list[str]:
    """The packages of an extra that are missing, with their versions, as pip takes them."""
    return [f"{one.name}{one.specifier}" for one in _wanted(extra) if not _is_installed(one)]


def installation(extra: str) -> str:
    """The command that installs an extra, or what is missing of it.

    It names the packages, because not everybody has a clone of the repository. Who runs this from a
    copy of its sources has one.
    """
    packages = missing(extra) or [f"{one.name}{one.specifier}" for one in _wanted(extra)]
    if not packages:
        return f"pip install -e '.[{extra}]'"
    return f"pip install {' '.join(map(repr, packages))}"


def _wanted(extra: str) -> list[requirements.Requirement]:
    if extra not in known():
        return []
    wanted = list[requirements.Requirement]()
    for one in map(requirements.Requirement, importlib.metadata.requires("jaxdqn") or ()):
        if one.marker and one.marker.evaluate({"extra": extra}):
            # An extra may contain others.
            wanted += itertools.chain(*map(_wanted, one.extras)) if one.name == "jaxdqn" else [one]
    return wanted


def _is_installed(wanted: requirements.Requirement) -> bool:
    try:
        found = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return wanted.specifier.contains(found, prereleases=True)
