"""Audit an installed library: run every probe, judge, and have each finding shown by its script."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module

from capsule_model.conform.specification import Rule, read_rules
from capsule_model.suites import chapters_of
from dlpack_model.audit.expected import finding_id
from dlpack_model.audit.outcome import Audit, Finding, Result
from dlpack_model.audit.probe import PROBES, Case, Probe
from dlpack_model.audit.processes import Ended, Missing, Zygote, run_script
from dlpack_model.audit.reading import judge
from dlpack_model.audit.registry import Library
from dlpack_model.audit.script import arguments_of, asked_of, script_of

__all__ = ["LIMIT", "Asked", "Place", "audit", "plan", "settle"]

AT_ONCE = 2
LIMIT = 20.0
QUIET = ("kept", "choice", "unsupported")
# What the model finds out, for the script that shows it.
UNKNOWN = {"index": "None", "raw": "None", "value": "None"}

# What cannot be asked of results without shape and type.
_OF_TYPES = ("layout", "type")

Step = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of a probe on a library."""

    probe: Probe
    case: Case
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Which library in which version is looked at, by which Python, and how many seconds a probe may take."""

    library: Library
    version: str
    python: str
    limit: float


@dataclass(frozen=True, slots=True)
class Judged:
    """What a probe says: a verdict or the severity of what is broken, what was seen, and of which rule."""

    asked: Asked
    verdict: str
    seen: str
    rule: str

    def result(self) -> Result:
        """Return what stands in the report."""
        verdict, severity = (self.verdict, None) if self.verdict in QUIET else ("broken", self.verdict)
        probe = self.asked.probe
        return Result(probe.id, self.asked.case.label, probe.side, self.rule, verdict, severity, self.seen)


def plan(library: Library, chosen: Callable[[Probe], bool]) -> tuple[list[Asked], list[Result]]:
    """Return what is asked of a library, and the results that say what cannot be asked."""
    import_module("dlpack_model.audit.probes")
    asked, absent = list[Asked](), list[Result]()
    for probe in filter(chosen, PROBES.values()):
        if not (library.consume if probe.side == "consumer" else library.make) or probe.side == "pair":
            continue
        if library.untyped and probe.id in _OF_TYPES:
            continue
        for case in probe.cases or _of_arrays(library):
            arguments = arguments_of(probe, case, library)
            if arguments is None or (probe.standard and not library.standard):
                seen = "the library, as it is described, has nothing to ask this with"
                absent.append(Result(probe.id, case.label, probe.side, probe.rule, "unsupported", None, seen))
            else:
                asked.append(Asked(probe, case, arguments))
    return asked, absent


def _of_arrays(library: Library) -> Iterator[Case]:
    """Yield a case for each array of a library's description."""
    for label, array in library.arrays.items():
        known = {"make": array.code, "shape": repr(array.shape), "dtype": repr(array.dtype), "rule": repr(array.rule)}
        yield Case(label, known | UNKNOWN)


def audit(
    library: Library,
    python: str,
    *,
    chosen: Callable[[Probe], bool] = lambda probe: True,
    limit: float = LIMIT,
    step: Step = lambda done, total: None,
) -> Audit:
    """Put every probe to a library, and have each finding shown by its script; ``ValueError`` where it is not there.

    ``step`` is told how many probes and scripts are done, and how many there are by then.
    """
    start = time.monotonic()
    asked, results = plan(library, chosen)
    judged: dict[int, Judged] = {}
    with Zygote([library], python, AT_ONCE) as zygote:
        place = Place(library, zygote.version(library), python, limit)
        calls = [(one.probe, _of_look(one, library) if one.probe.look else one.arguments) for one in asked]
        for number, ended in zygote.run(calls, limit):
            judged[number] = judged_of(asked[number], ended, limit)
            step(len(judged), len(asked))
        version = zygote.python_version
    more, findings = settle(place, [judged[number] for number in sorted(judged)], step)
    results += more
    if all(result.verdict == "unsupported" for result in results):
        why = results[-1].seen if results else "it neither makes arrays nor imports them"
        raise Missing(
            f"{library.name}: nothing could be asked: {why}; expected a library with __dlpack__ or from_dlpack"
        )
    tables = any(result.side == "exchange-api" and result.verdict == "kept" for result in results)
    roles = (*library.roles, "exchange API") if tables else library.roles
    seconds = round(time.monotonic() - start, 1)
    return Audit(library.name, place.version, version, roles, seconds, tuple(results), tuple(findings))


def _of_look(asked: Asked, library: Library) -> Mapping[str, str]:
    return {"make": asked.arguments["make"], "values": library.values}


def judged_of(asked: Asked, ended: Ended, limit: float) -> Judged:
    """Return what the end of a probe's process means."""
    probe = asked.probe
    if ended.late or ended.died:
        text = (
            f"the process does not come to an end in {limit:.0f} s" if ended.late else f"the process dies: {ended.died}"
        )
        last = ended.noise.strip().splitlines()[-1:]
        text += f": {last[0][:200]}" if last and ended.died not in ("SIGSEGV", "SIGBUS") else ""
        text = probe.means if probe.means and ended.died == "SIGSEGV" else text
        rule = asked.case.dies or probe.dies or ast.literal_eval(asked.arguments.get("rule", repr(probe.rule)))
        return Judged(asked, "choice" if probe.undefined else "crash", text, rule)
    verdict, seen, *rule = ended.told
    if verdict == "facts":
        (verdict, seen, *rule), found = judge(json.loads(seen), ast.literal_eval(asked.arguments["rule"]))
        asked = replace(asked, arguments={**asked.arguments, **found})
    return Judged(asked, verdict, seen, rule[0] if rule else probe.rule)


def settle(place: Place, judged: list[Judged], step: Step) -> tuple[list[Result], list[Finding]]:
    """Have what is broken shown by scripts, one for each rule and severity; return results and findings.

    What a script does not show is unconfirmed; of a crash or a hang that a fresh process does not have, what is said
    there counts.
    """
    results = [one.result() for one in judged if one.verdict in QUIET]
    groups: dict[tuple[str, str], list[Judged]] = {}
    for one in judged:
        if one.verdict not in QUIET:
            groups.setdefault((one.rule, one.verdict), []).append(one)
    for group in groups.values():
        # What shows a rule by itself stands for what meets it on the way.
        group.sort(key=lambda one: one.asked.probe.rule != one.rule)
    findings = list[Finding]()
    rules = {rule.id: rule for rule in read_rules(chapters_of("dlpack"))}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        shows = pool.map(partial(_shown, place), groups.values())
        for done, (group, shown) in enumerate(zip(groups.values(), shows, strict=True), 1):
            step(len(judged) + done, len(judged) + len(groups))
            script, said, verdict = shown
            if verdict is None:
                findings.append(_finding(place, group, script, said, rules[group[0].rule], findings))
                results += [one.result() for one in group]
            else:
                results += [_instead(one, *verdict) for one in group]
    return results, findings


def _shown(place: Place, group: list[Judged]) -> tuple[str, str, tuple[str, str] | None]:
    """Run the script of a group: return it, what it said, and None where it shows the finding, else what counts."""
    first = group[0]
    title = f"{place.library.name} {place.version}, {first.rule}: {first.seen}"
    try:
        script = script_of(first.asked.probe, first.asked.arguments, place.library, title)
    except ValueError as error:
        return "", "", ("unconfirmed", f"{first.seen}; {error}")
    ended = run_script(script, place.python, place.limit + 40)
    said = "".join(ended.told)
    if first.verdict == "crash":
        if ended.late or ended.died:
            return script, f"the process dies: {ended.died}" if ended.died else "the process does not end", None
        verdict, _, seen = said.partition(": ")
        return script, said, (verdict, seen) if verdict in QUIET else ("unconfirmed", said)
    shows = not ended.died and said.startswith(f"{first.verdict}: ")
    return script, said, None if shows else ("unconfirmed", first.seen + f"; the script says {said or ended.died}")


def _instead(judged: Judged, verdict: str, seen: str) -> Result:
    """Return the result of a probe whose script says otherwise."""
    severity = judged.verdict if verdict == "unconfirmed" else None
    return replace(judged.result(), verdict=verdict, severity=severity, seen=seen)


def _case(asked: Asked, probe: Probe) -> str:
    """Return the name of a case; that of another probe's has its name in front."""
    return asked.case.label if asked.probe == probe else f"{asked.probe.id} {asked.case.label}".strip()


def _finding(place: Place, group: list[Judged], script: str, said: str, rule: Rule, others: list[Finding]) -> Finding:
    first = group[0]
    probe = first.asked.probe
    name = finding_id(place.library.name, probe.id)
    taken = {other.id for other in others}
    tails = ("", f"-{first.verdict.replace(' ', '-')}", f"-{rule.id.partition('/')[2]}")
    identity = next(name + tail for tail in tails if name + tail not in taken)
    text = rule.sentence.split(". ")[0].rstrip(".") + "."
    cases = tuple(_case(one.asked, probe) for one in group if one.asked.case.label or one.asked.probe != probe)
    return Finding(
        identity,
        place.library.name,
        place.version,
        probe.id,
        probe.side,
        rule.id,
        rule.level,
        text,
        asked_of(probe),
        first.verdict,
        first.seen,
        cases,
        script,
        said,
    )
