"""What is said of an answer: right and why, not given yet, or what is off and where to look."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

__all__ = ["NotYet", "Verdict"]

# Ink that reads on white and on black alike.
_COLOURS = {True: "#2e8b57", False: "#d2691e", None: "#808080"}


class NotYet(Exception):
    """Say what is off with an answer, and give a hint; a judge raises it."""

    def __init__(self, off: str, hint: str) -> None:
        super().__init__(off, hint)
        self.off = off
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of an answer: ``accepted`` is None where none was given, ``text`` a sentence, ``hint`` or empty."""

    accepted: bool | None
    text: str
    hint: str = ""

    @property
    def head(self) -> str:
        """Return the word in front."""
        return {True: "right", False: "not yet", None: "not answered yet"}[self.accepted]

    def __repr__(self) -> str:
        """Return the verdict, the hint on a line of its own."""
        return f"{self.head}: {self.text}" + (f"\n  hint: {self.hint}" if self.hint else "")

    def _repr_html_(self) -> str:
        """Return the verdict for a notebook."""
        hint = f"<br><em>hint:</em> {escape(self.hint)}" if self.hint else ""
        style = f"border-left: 4px solid {_COLOURS[self.accepted]}; padding: 0.3em 0.8em"
        return f'<div style="{style}"><strong>{self.head}:</strong> {escape(self.text)}{hint}</div>'
