"""Foreign texts in Markdown: shown as they are, on one line, and doing nothing.

What a library, an exception or a person wrote may hold anything: pipes, backticks, tags, control characters.
"""

from __future__ import annotations

import re

from capsule_model.show.texts import spans, web_address, web_label
from capsule_model.trace.wording import clean

__all__ = ["block", "cell", "code", "link", "prose", "short", "text"]

# A mark inside a word is none, and bare addresses become links where Markdown is shown.
_SPECIAL = re.compile(r"[\\`*\[\]~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//)|(?<=[Ww]{3})\.")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "@": "&#64;"})
_PLAIN_CODE = re.compile(r"[^`|\\]+")
_MOST_LINES = 40


def short(text: str, limit: int) -> str:
    """Return a text on one line, clean, and cut behind a word where it is longer than ``limit`` characters."""
    line = " ".join(text[: 4 * limit].split())
    if len(line) > limit:
        begin, _, rest = line[:limit].rpartition(" ")
        line = f"{begin if len(begin) > len(rest) else line[: limit - 1]}…"
    return clean(line, limit + 1)


def text(foreign: str, limit: int = 200) -> str:
    """Return foreign text as Markdown that shows it, in a paragraph or in a cell of a table."""
    return _SPECIAL.sub(r"\\\g<0>", short(foreign, limit).translate(_ENTITIES))


def code(foreign: str, limit: int = 200) -> str:
    """Return foreign text as a code span, in a paragraph or in a cell; as text where a cell could not hold it."""
    line = short(foreign, limit)
    return f"`{line}`" if _PLAIN_CODE.fullmatch(line) and line.strip() == line else text(line, limit)


def prose(foreign: str, limit: int = 600) -> str:
    """Return foreign sentences with what stands between backticks as code."""
    shown = ""
    for part, is_code in spans(short(foreign, limit)):
        # Behind a backtick another one would make a longer run of them.
        shown += code(part, limit) if is_code and not shown.endswith("`") else _between(part, limit)
    return shown


def cell(foreign: str, limit: int = 90) -> str:
    """Return foreign sentences for a cell of a table: cut short, never empty."""
    return prose(foreign, limit) or "·"


def link(address: str) -> str:
    """Return a link to an address of the web that shows where it leads; anything else as code."""
    usable = web_address(address)
    if usable is None:
        return code(address)
    quoted = re.sub(r"[^A-Za-z0-9_.~/?#=&;:@!$,+%-]", lambda found: f"%{ord(found[0]):02X}", usable)
    return f"[{text(web_label(usable))}]({quoted.replace('&', '&amp;')})"


def block(foreign: str) -> str:
    """Return foreign lines as a fenced block, the first ones where there are many."""
    lines = foreign.expandtabs(4).splitlines()
    shown = [clean(line, 300) for line in lines[:_MOST_LINES]]
    shown += [f"… and {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
    fence = "`" * max(3, *(len(run) + 1 for line in shown for run in re.findall("`+", line)), 3)
    return "\n".join([f"{fence}text", *shown, fence])


def _between(part: str, limit: int) -> str:
    """Return a part of a sentence as text, with the blanks at its ends."""
    before, after = part[: len(part) - len(part.lstrip())], part[len(part.rstrip()) :]
    return f"{before and ' '}{text(part, limit)}{after and part.strip() and ' '}"
