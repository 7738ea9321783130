"""The versions of packages, for the scripts that run alone in a peer's Python."""

import importlib.metadata
from collections.abc import Iterable


def of(packages: Iterable[str]) -> dict[str, str | None]:
    """The version of each package; None where it is not installed."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
