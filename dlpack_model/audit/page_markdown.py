"""Write an audit as Markdown: one page, and a page and a script for each finding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path

from capsule_model.show.texts import limited
from capsule_model.trace.wording import clean
from capsule_model.whole import write_whole
from dlpack_model.audit.expected import Known
from dlpack_model.audit.markup import block, cell, code, link, prose, short, text
from dlpack_model.audit.outcome import SEVERITIES, VERDICTS, Report
from dlpack_model.audit.unprobed import UNPROBED
from dlpack_model.audit.view import (
    CONSEQUENCES,
    Answers,
    Entry,
    Left,
    choices,
    entries,
    left,
    matrix,
    place_of,
)

__all__ = ["as_markdown", "finding_markdown", "write_findings"]

# So many libraries fit on a page beside each other, where cells are words and where they are sentences.
_PAIRS_ABREAST = 12
_CHOICES_ABREAST = 6
_MOST_CASES = 12
_MOST_PROBES = 20
# What may be the name of a file on every system.
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}")

_BEGINNING = """\
# DLPack in array libraries

The rules of [DLPack](../dlpack/overview.md) that a library can break, put to {libraries} by `dlpack-model audit`, each
probe in a process of its own. A finding is a rule that a library breaks, shown by a script that was run and
needs nothing but that library; the [notation](../README.md#notation) says what the level of its rule means. What the
rules leave open is no finding, and stands under [choices](#choices).
"""
_PAIRS = """\
Rows produce, columns consume. A cell says whether the consumer views the elements, copies them or refuses, and how
often the producer's deleter ran until everything was dropped, where that can be told. **Bold** is what should not be:
a count other than 1, wrong values, a process that died or stood still.
"""
_CHOICES = """\
What the rules leave open, or protect nobody from, and what each library does. A word such as kept or unsupported is
what became of the probe where a library has no choice to make; a library that was not asked has a dot.
"""


def as_markdown(report: Report, known: Mapping[str, Known], findings_folder: str = "findings") -> str:
    """Return the page, for a folder beside that of the chapters; ``findings_folder`` is where the scripts are."""
    found = entries(report, known)
    anchors = _anchors(found)
    count = len({audit.library for audit in report.audits})
    libraries = f"{count} {'library' if count == 1 else 'libraries'}"
    parts = [
        [_BEGINNING.format(libraries=libraries)],
        ["## Libraries", "", "Figures count probes, each case by itself.", "", *_libraries(report)],
        ["## Findings by severity", "", *_severities(report), "", *_index(found, anchors)],
        ["## Pairs", "", _PAIRS, *_pairs(report)] if report.pairs else [],
        ["## Findings", "", *_findings(found, findings_folder)],
        _unconfirmed(left(report, "unconfirmed")),
        ["## Choices", "", _CHOICES, *_choices(report)],
        ["## Not looked at", "", *_unsupported(left(report, "unsupported"))],
        ["## Rules without a probe", "", *_unprobed()],
    ]
    page = "\n\n".join("\n".join(part).strip("\n") for part in parts if part) + "\n"
    return re.sub("\n{3,}", "\n\n", page)


def finding_markdown(entry: Entry, chapters: str = "../../dlpack") -> str:
    """Return the page of one finding, for the folder of its script; ``chapters`` is where the rules are from there."""
    finding = entry.finding
    script = _script_name(finding.id)
    lines = [
        f"# {text(finding.library, 60)}: {entry.severity}: {prose(entry.seen[0].text, 100)}",
        f"**Rule** {_rule(finding.rule, chapters)} ({text(finding.level, 20)}, {text(finding.side, 20)}):"
        f" {prose(finding.text)}",
        f"**Severity** {entry.severity}: {CONSEQUENCES[entry.severity]}",
        f"**Asked**: {prose(finding.asked)}",
        *_seen(entry),
        f"**Versions**: {text(finding.library, 60)} {_listed(entry.versions)}.",
        f"**Reproduction**: [{script}]({script}), which needs nothing but that library. It says:",
        block(finding.shown),
    ]
    return "\n\n".join(lines) + "\n"


def write_findings(report: Report, folder: Path) -> list[Path]:
    """Write a script and a page for each finding into ``folder``, each whole or not at all, and return the files.

    The script is that of the newest version. What else is in the folder stays. Raises ``ValueError`` with one line,
    before anything is written, for an id that cannot be the name of a file, or names two findings.
    """
    found = entries(report, {})
    texts: dict[str, str] = {}
    for entry in found:
        name = _script_name(entry.finding.id)
        if name in texts:
            raise ValueError(f"finding {clean(entry.finding.id, 120)}: two libraries have it; expected an id for each")
        script = entry.finding.script
        texts[name] = script if script.endswith("\n") else f"{script}\n"
        texts[f"{name.removesuffix('.py')}.md"] = finding_markdown(entry)
        try:
            script.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name}: half a surrogate pair in the script; expected Unicode") from None
    for name, content in texts.items():
        write_whole(content, folder / name)
    return [folder / name for name in texts]


def _script_name(identifier: str) -> str:
    if not _FILE_NAME.fullmatch(identifier):
        raise ValueError(f"finding {clean(identifier, 120)}: no name for a file; expected letters, digits, -, _ and .")
    return f"dlpack-{identifier}.py"


def _libraries(report: Report) -> Iterator[str]:
    yield "| library | version | Python | roles | kept | broken | choices | unsupported | unconfirmed |"
    yield "|---|---|---|---|--:|--:|--:|--:|--:|"
    for audit in report.audits:
        counts = audit.count()
        named = (text(audit.library, 60), text(audit.version, 60), text(audit.python, 60), _listed(audit.roles))
        yield _row(*named, *(str(counts.get(verdict, 0)) for verdict in VERDICTS))


def _severities(report: Report) -> Iterator[str]:
    worst_first = SEVERITIES[::-1]
    yield f"| library | version | {' | '.join(worst_first)} |"
    yield "|---|---|" + "--:|" * len(worst_first)
    for audit in report.audits:
        counts = Counter(finding.severity for finding in audit.findings)
        # The headings below Findings are there for severities that occur.
        figures = (f"[{counts[one]}](#{one.replace(' ', '-')})" if counts[one] else "·" for one in worst_first)
        yield _row(text(audit.library, 60), text(audit.version, 60), *figures)


def _index(found: Sequence[Entry], anchors: Mapping[str, str]) -> Iterator[str]:
    by_library: dict[str, list[Entry]] = {}
    for entry in found:
        by_library.setdefault(entry.finding.library, []).append(entry)
    for library, own in by_library.items():
        named = ", ".join(f"[{text(e.finding.id, 120)}](#{anchors[_title(e)]}) ({e.severity})" for e in own)
        yield f"- **{text(library, 60)}**: {named}"


def _pairs(report: Report) -> Iterator[str]:
    found = matrix(report.pairs)
    for consumers in _abreast(found.consumers, _PAIRS_ABREAST):
        yield ""
        yield _row("producer", *(text(name, 60) for name in consumers))
        yield "|---|" + "---|" * len(consumers)
        for producer in found.producers:
            words = (
                "<br>".join(
                    f"**{one.text}**" if one.loud else one.text for one in found.cells.get((producer, name), ())
                )
                for name in consumers
            )
            yield _row(text(producer, 60), *(word or "·" for word in words))
    yield ""
    for pair in found.loud:
        yield f"- **{text(pair.producer, 60)} to {text(pair.consumer, 60)}**, {pair.outcome}: {prose(pair.seen, 300)}"
    for (consumer, seen), producers in found.refusals.items():
        yield f"- {text(consumer, 60)} refuses {_listed(producers)}: {prose(seen, 300)}"


def _findings(found: Sequence[Entry], folder: str) -> Iterator[str]:
    if not found:
        yield "None: no rule was seen broken."
    for severity in SEVERITIES[::-1]:
        own = [entry for entry in found if entry.severity == severity]
        if own:
            yield f"\n### {severity}\n\n{CONSEQUENCES[severity]}"
        for entry in own:
            yield f"\n#### {text(_title(entry), 200)}\n"
            yield from _points(entry, folder)


def _points(entry: Entry, folder: str) -> Iterator[str]:
    finding = entry.finding
    level, side = text(finding.level, 20), text(finding.side, 20)
    yield f"- **Rule** {_rule(finding.rule, '../dlpack')} ({level}, {side}): {prose(finding.text)}"
    yield f"- **Asked**: {prose(finding.asked)}"
    yield from (f"- {line}" for line in _seen(entry))
    yield f"- **Versions**: {text(finding.library, 60)} {_listed(entry.versions)}"
    said = next((line for line in reversed(finding.shown.splitlines()) if line.strip()), "")
    ends = f", which ends with: {prose(said, 200)}" if said else ""
    name = f"dlpack-{finding.id}"
    if _FILE_NAME.fullmatch(finding.id):
        yield f"- **Script**: [{name}.py]({folder}/{name}.py) ([what it says]({folder}/{name}.md)){ends}"


def _seen(entry: Entry) -> Iterator[str]:
    for seen in entry.seen:
        where = f" in {_listed(seen.versions)}" if len(entry.seen) > 1 else ""
        yield f"**Seen**{where}: {prose(seen.text)}{_cases(seen.cases)}"
        if seen.known is not None:
            yield f"**Known**{where}: {prose(seen.known.reason, 1000)} ({link(seen.known.link)})"


def _cases(cases: Sequence[str]) -> str:
    named = [case for case in cases if case]
    return f" (cases: {_listed(named, _MOST_CASES)})" if named else ""


def _unconfirmed(found: Sequence[Left]) -> list[str]:
    if not found:
        return []
    about = "Seen once, and not again by the script that should show it: no findings, and not to be relied on."
    lines = [
        f"- **{text(one.library, 60)}** {_listed(one.versions)}: {text(one.severity or '', 20)}:"
        f" {_listed(one.probes, _MOST_PROBES)}: {prose(one.seen, 300)}"
        for one in found
    ]
    return ["## Unconfirmed", "", about, "", *lines]


def _choices(report: Report) -> Iterator[str]:
    libraries = tuple(dict.fromkeys(audit.library for audit in report.audits))
    found = choices(report)
    if not found:
        yield "None."
        return
    for names in _abreast(libraries, _CHOICES_ABREAST):
        yield ""
        yield _row("probe", "rule", *(text(name, 60) for name in names))
        yield "|---|---|" + "---|" * len(names)
        for choice in found:
            cases = [case for case in choice.cases if case]
            probe = code(choice.probe, 80) + (f"<br>{_listed(cases, 4)}" if cases else "")
            yield _row(
                probe, _rule(choice.rule, "../dlpack"), *(_answers(choice.cells.get(name, ())) for name in names)
            )


def _answers(answers: Answers) -> str:
    if len(answers) == 1:
        return cell(answers[0][0])
    return "<br>".join(f"{_listed(versions, 4)}: {cell(answer)}" for answer, versions in answers) or "·"


def _unsupported(found: Sequence[Left]) -> Iterator[str]:
    if not found:
        yield "Nothing: every probe could be run on every library."
        return
    yield "What a library does not have, or nobody can look at here."
    yield ""
    yield "| library | why | probes |"
    yield "|---|---|---|"
    for one in found:
        named = f"{text(one.library, 60)} {_listed(one.versions)}"
        yield _row(named, cell(one.seen, 160), _listed(one.probes, _MOST_PROBES))


def _unprobed() -> Iterator[str]:
    yield _row("rule", "why nobody is asked about it")
    yield "|---|---|"
    for rule, why in UNPROBED.items():
        yield _row(_rule(rule, "../dlpack"), text(why))


def _rule(rule: str, chapters: str) -> str:
    place = place_of(rule)
    return code(rule, 120) if place is None else f"[{code(rule, 120)}]({chapters}/{place[0]}.md#{place[1]})"


def _title(entry: Entry) -> str:
    return short(entry.finding.id, 120)


def _anchors(found: Sequence[Entry]) -> dict[str, str]:
    """Return the anchors of the findings' headings by their text, made as GitHub makes them; the last of equal ones."""
    taken: Counter[str] = Counter()
    made: dict[str, str] = {}
    headings = ["dlpack-in-array-libraries", "libraries", "findings-by-severity", "pairs", "findings"]
    taken.update([*headings, *(severity.replace(" ", "-") for severity in {entry.severity for entry in found})])
    for entry in found:
        slug = re.sub(r"[^\w\- ]", "", _title(entry).lower()).replace(" ", "-")
        made[_title(entry)] = f"{slug}-{taken[slug]}" if taken[slug] else slug
        taken[slug] += 1
    return made


def _abreast(names: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Yield names in groups of about the same size, none above ``most``."""
    size = ceil(len(names) / ceil(len(names) / most)) if names else 1
    yield from (names[start : start + size] for start in range(0, len(names), size))


def _listed(names: Sequence[str], most: int = 40) -> str:
    return ", ".join(text(name, 100) for name in limited(names, most))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
