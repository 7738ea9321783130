"""Counts, names and exceptions as readable text."""

import traceback


def counted(count: int, noun: str) -> str:
    """A number with its noun: '1 run', '1,200 runs'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def visible(text: object) -> str:
    r"""Text with all characters visible: a line break becomes '\n'.

    Bytes of a file name that are not UTF-8, which Python reads as lone surrogates and a page
    cannot hold, become '\udcff' and the like.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)
    )


def first_line(error: Exception) -> str:
    """The first line of an exception's message, or its type: libraries append details to it."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def one_line(error: BaseException) -> str:
    """The message of an error in one line, or its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def with_type(error: Exception) -> str:
    """An exception's type and the first line of its message, as a traceback ends."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def import_problem(error: Exception) -> str:
    """Why a module cannot be imported; the type says more where its own code failed."""
    return str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"


def show_own_failure(error: Exception, module: str) -> None:
    """Prints where a module's own code failed; nothing if the module was not found."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is None or not f"{module}.".startswith(f"{missing}."):
        traceback.print_exception(error)
