"""Text that may stand in a picture, whatever a program called its things."""

from __future__ import annotations

import unicodedata

__all__ = ["cells", "cut", "quoted", "safe", "wrapped"]

# No text of a picture is longer than this.
MOST = 4000


def safe(text: str, most: int = MOST) -> str:
    """Return a text on one line, of at most ``most`` characters, in which everything that could mislead is escaped.

    Escaped are control, format and bidirectional characters, lone surrogates, what Unicode has not assigned, and marks
    that are drawn over their neighbours; what is too long is cut at its end.
    """
    # What is cut away need not be looked at.
    shown = "".join(map(_shown, text[: most + 1]))
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _shown(character: str) -> str:
    if character.isprintable() and not unicodedata.category(character).startswith("M"):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def quoted(raw: bytes, most: int = 40) -> str:
    """Return the bytes of a C string as C writes them, cut with their number where there are many."""
    text = raw[: 4 * most].decode("utf-8", "backslashreplace").replace('"', '\\"')
    shown = safe(text)
    if len(raw) > 4 * most or len(shown) > most:
        return f'"{shown[:most]}…" ({len(raw)} bytes)'
    return f'"{shown}"'


def cut(text: str, most: int) -> str:
    """Return a text that takes at most ``most`` cells of a terminal, cut at its end."""
    shown = safe(text)
    if cells(shown) <= most:
        return shown
    taken = 1
    for place, character in enumerate(shown):
        taken += _width(character)
        if taken > most:
            return shown[:place] + "…"
    return shown


def cells(text: str) -> int:
    """Return how many cells of a terminal a text takes: two for a wide character."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrapped(text: str, width: int, most: int = 12) -> list[str]:
    """Return a text in lines of at most ``width`` cells, broken at spaces where there are some."""
    lines: list[str] = []
    line = ""
    for word in safe(text).split(" "):
        piece = word
        while cells(piece) > width:
            head = _fitting(piece, width)
            lines += [line, head] if line else [head]
            line, piece = "", piece[len(head) :]
        joined = f"{line} {piece}" if line else piece
        if cells(joined) > width:
            lines.append(line)
            joined = piece
        line = joined
    lines.append(line)
    return lines if len(lines) <= most else [*lines[: most - 1], "…"]


def _fitting(text: str, width: int) -> str:
    """Return the longest beginning of a text that takes at most ``width`` cells, one character at least."""
    taken = 0
    for place, character in enumerate(text):
        taken += _width(character)
        if taken > width:
            return text[: max(place, 1)]
    return text
