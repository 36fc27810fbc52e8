"""Capsules of real interpreters as text for terminals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from capsule_model.inspection.record import Capsule, Inspection, Place
from capsule_model.trace.wording import clean, shown

__all__ = ["counted", "in_full", "in_short", "name_text", "place_text", "summary"]


def name_text(name: bytes | None) -> str:
    """Return a name as it is written in C, or NULL; bytes that are not UTF-8 are escaped."""
    if name is None:
        return "NULL"
    text = name.decode(errors="backslashreplace")
    return shown(text)


def place_text(place: Place | None, *, address: bool = True) -> str:
    """Return where a pointer leads, with or without the address."""
    if place is None:
        return "NULL"
    found = f"{place.address:#x}, " if address else ""
    if place.library is None:
        return found + {"memory": "in memory of no library", "unmapped": "where no memory is"}.get(
            place.region, "place unknown"
        )
    if place.symbol is None:
        return f"{found}{place.offset or 0:#x} bytes into {place.library}, symbol unknown"
    return f"{found}{place.symbol}{f'+{place.offset}' if place.offset else ''} in {place.library}"


def in_full(capsule: Capsule, profile: str) -> Iterator[str]:
    """Yield the lines that tell all about a capsule."""
    first, *others = capsule.paths
    yield clean(first)
    where = "" if capsule.name is None else f" ({place_text(capsule.name_place)})"
    rows = [("name", name_text(capsule.name) + where), ("pointer", place_text(capsule.pointer))]
    rows += [("context", place_text(capsule.context)), ("destructor", place_text(capsule.destructor))]
    if capsule.traverse is not None or capsule.clear is not None:
        rows += [("traverse", place_text(capsule.traverse)), ("clear", place_text(capsule.clear))]
    rows.append(("collector", "tracked" if capsule.tracked else "not tracked"))
    rows.append(("references", str(capsule.references)))
    rows.append(("import", f"{capsule.verdict}: {capsule.why}"))
    if others or capsule.more:
        rest = f" and {capsule.more} more" if capsule.more else ""
        rows.append(("also at", ", ".join(map(clean, others)) + rest))
    known = sum(asked.model is not None for asked in capsule.asked)
    rows.append(("asked", f"PyCapsule_Import {len(capsule.asked)} times, {known} of them held against {profile}"))
    rows += [("differs", text) for text in capsule.disagreements]
    for label, text in rows:
        yield f"  {label:11} {text}"


def in_short(capsule: Capsule) -> Iterator[str]:
    """Yield two lines about a capsule, and one for each disagreement."""
    rest = len(capsule.paths) - 1 + capsule.more
    yield f"{clean(capsule.paths[0])}{f' (and {rest} more)' if rest else ''}  {name_text(capsule.name)}"
    destructor = "" if capsule.destructor is None else f"; destructor {place_text(capsule.destructor, address=False)}"
    yield f"  {capsule.verdict}; points to {place_text(capsule.pointer, address=False)}{destructor}"
    for text in capsule.disagreements:
        yield f"  differs: {text}"


def counted(inspection: Inspection) -> str:
    """Return how many capsules there are of each verdict."""
    verdicts = Counter(one.verdict for one in inspection.capsules)
    parts = [f"{verdict} {count}" for verdict, count in verdicts.most_common()]
    return f"{len(inspection.capsules)} capsules" + (f": {', '.join(parts)}" if parts else "")


def summary(inspection: Inspection, *, verbose: bool) -> Iterator[str]:
    """Yield the lines at the end: what was imported and what was not, and capsules without a path."""
    yield f"{inspection.profile} ({inspection.python}): {counted(inspection)}"
    modules = sum(inspection.groups.values())
    reasons = Counter(why.partition(":")[0] for _, why in inspection.failed)
    failed = f"; {len(inspection.failed)} could not be imported" if inspection.failed else ""
    told = f" ({', '.join(f'{why} {count}' for why, count in reasons.most_common())})" if reasons else ""
    more = "" if verbose or not inspection.failed else "; --verbose names them"
    yield f"{modules} modules of {len(inspection.groups)} distributions{failed}{told}{more}"
    if verbose:
        for module, why in inspection.failed:
            yield f"  {clean(module)}: {why}"
    without = sum(one.count for one in inspection.unreached)
    if without:
        more = "" if verbose else "; --verbose tells which"
        yield f"{without} more capsules are held by objects that no path leads to{more}"
        if verbose:
            for one in inspection.unreached:
                yield f"  {one.count} named {shown(one.name)} held by an object of type {one.holder}"
    yield f"C API, struct, repr and model: {inspection.disagreements or 'no'} disagreements"
