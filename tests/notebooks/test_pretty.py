"""A diagnosis where text is all that can be shown."""

from __future__ import annotations

import pytest

from capsule_model import Interpreter, UndefinedBehavior


class Printer:
    """What IPython hands over to be written to."""

    written = ""

    def text(self, text: str) -> None:
        """Write."""
        self.written += text


def test_ipython_shows_a_diagnosis_in_full() -> None:
    """A reader of a notebook that is not trusted sees the history, not the arguments of an exception."""
    py = Interpreter()
    with pytest.raises(UndefinedBehavior) as found:
        py.read(py.malloc(1), 1)
    printer = Printer()
    found.value._repr_pretty_(printer, False)
    assert printer.written == str(found.value)
    assert "history: malloc block of 1 bytes, allocated at event 1" in printer.written
