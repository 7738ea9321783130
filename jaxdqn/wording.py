"""Counts and names as people read them."""


def counted(count: int, noun: str) -> str:
    """A number with its noun: '1 run', '1,200 runs'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def visible(text: object) -> str:
    r"""Text whose characters can all be seen: a line break becomes '\n'.

    The bytes of a file name that are not UTF-8, which Python reads as lone surrogates and no page
    can hold, become '\udcff' and the like.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)
    )
