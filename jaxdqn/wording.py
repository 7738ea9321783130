"""Counts and names as readable text."""


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
