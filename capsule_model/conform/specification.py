"""Read the chapters of the specification: one rule a heading, in the form that specs/README.md gives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capsule_model.profiles import Profile
from capsule_model.suites import CAPSULE, chapters_of, suites_there
from capsule_model.trace.expectation import holds

__all__ = ["LEVELS", "RULE_ID", "Rule", "read_rules", "rules_about", "with_vectors"]

LEVELS = ("MUST", "SHOULD", "MAY", "UNDEFINED")
RULE_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*/[A-Za-z0-9_-]+")

_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*$")
_FIELD = re.compile(r"^- \*\*(Level|When|Source|Vectors):\*\*\s*(.*)$")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_CODE = re.compile(r"`([^`]+)`")
_MOST_OPEN = 6


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its id, where it stands, and what the chapter says about it.

    `when` names the behaviours without which it does not apply (`!name`: which must be absent). `sentence` is the
    first paragraph, without its links; what follows in the chapter explains it.
    """

    id: str
    file: Path
    line: int
    level: str
    when: tuple[str, ...]
    source: str
    sentence: str
    vectors: tuple[str, ...]

    def applies(self, profile: Profile) -> bool:
        """Tell whether a profile has the behaviours that the rule is about."""
        return all(holds(condition, profile.behaviours.__contains__) for condition in self.when)

    @property
    def place(self) -> str:
        """Return `file:line` of the heading."""
        return f"{self.file.name}:{self.line}"


def read_rules(folder: Path) -> list[Rule]:
    """Return the rules of all chapters `*.md` in `folder`, in order; a missing field is an empty string."""
    return [rule for file in sorted(folder.glob("*.md")) for rule in _rules(file, file.read_text("utf-8").splitlines())]


def rules_about(vectors: Iterable[Mapping[str, Any]]) -> list[Rule]:
    """Return the rules of each suite that `vectors` list a rule of, those of the suite capsule where they list none."""
    listed = {rule for vector in vectors for rule in vector["rules"]}
    found = {suite: read_rules(chapters_of(suite)) for suite in suites_there()}
    chosen = [suite for suite, rules in found.items() if not listed.isdisjoint(rule.id for rule in rules)]
    return [rule for suite in chosen or [CAPSULE] for rule in found[suite]]


def _rules(file: Path, lines: list[str]) -> Iterator[Rule]:
    for start, end in _sections(lines):
        fields = {"Level": "", "When": "", "Source": "", "Vectors": ""}
        prose: list[list[str]] = []
        current = ""
        for line in lines[start + 1 : end]:
            found = _FIELD.match(line)
            if found:
                current = found[1]
                fields[current] = found[2]
            elif not line.strip():
                current = ""
                prose.append([])
            elif current:
                fields[current] += " " + line.strip()
            else:
                prose[-1:] = [[*(prose or [[]])[-1], line.strip()]]
        identifier = _HEADING.match(lines[start])[2].strip("`")  # type: ignore[index]
        sentence = next((" ".join(paragraph) for paragraph in prose if paragraph), "")
        vectors = tuple(_CODE.findall(fields["Vectors"]))
        yield Rule(
            identifier,
            file,
            start + 1,
            fields["Level"].strip(),
            tuple(_CODE.findall(fields["When"])),
            fields["Source"].strip(),
            _LINK.sub(r"\1", sentence),
            vectors,
        )


def _sections(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Yield first and end line of every rule: from its heading to the next heading outside a code block."""
    fenced = False
    headings: list[tuple[int, bool]] = []
    for number, line in enumerate(lines):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        found = None if fenced else _HEADING.match(line)
        if found:
            headings.append((number, found[1] == "###" and re.fullmatch(r"\S+/\S+", found[2]) is not None))
    for position, (number, is_rule) in enumerate(headings):
        if is_rule:
            yield number, headings[position + 1][0] if position + 1 < len(headings) else len(lines)


def with_vectors(file: Path, showing: Mapping[str, Iterable[str]]) -> str:
    """Return the text of the chapter `file` with its **Vectors:** lines brought up to date.

    `showing` maps a rule's id to the ids of the vectors that list it.
    """
    lines = file.read_text("utf-8").splitlines()
    for start, end in reversed(list(_sections(lines))):
        heading = _HEADING.match(lines[start])
        assert heading is not None
        ids = sorted(showing.get(heading[2].strip("`"), ()))
        wanted = f"- **Vectors:** {_listed(ids)}"
        first = next((n for n in range(start, end) if lines[n].startswith("- **Vectors:**")), None)
        if first is None:
            last = max(n for n in range(start, end) if lines[n].strip())
            lines[last + 1 : last + 1] = ["", wanted]
            continue
        after = first + 1
        while after < end and lines[after].strip():
            after += 1
        lines[first:after] = [wanted]
    return "\n".join(lines) + "\n"


def _listed(ids: Sequence[str]) -> str:
    """Return the ids of vectors as a chapter shows them; many of them folded."""
    text = ", ".join(f"`{name}`" for name in ids) or "none"
    return text if len(ids) <= _MOST_OPEN else f"<details><summary>{len(ids)} vectors</summary>{text}</details>"
