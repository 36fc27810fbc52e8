"""A picture that a notebook and a terminal can show."""

from __future__ import annotations

__all__ = ["Picture"]


class Picture:
    """One picture: ``svg`` is the whole document, ``text`` the same in words for a terminal.

    Notebooks display it; ``print`` writes the text.
    """

    def __init__(self, svg: str, text: str) -> None:
        self.svg = svg
        self.text = text

    def _repr_svg_(self) -> str:
        """Return the picture for a notebook that shows SVG."""
        return self.svg

    def _repr_html_(self) -> str:
        """Return the picture for a notebook that shows HTML."""
        return f'<div class="cm-picture">{self.svg}</div>'

    def __str__(self) -> str:
        """Return the picture for a terminal."""
        return self.text

    def __repr__(self) -> str:
        """Return the picture for a terminal, where a prompt shows what an expression gives."""
        return self.text
