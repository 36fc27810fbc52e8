"""The page `specs/claims.md`: all claims in tables, and what was measured."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from capsule_model.claims.read import NO_BEHAVIOUR, Claim, Claims, Proof

__all__ = ["counts", "page", "read_measured", "versions"]

_BUILDS = {"": "", " debug": "debug ", "t": "free-threaded ", "t debug": "free-threaded debug "}

Measured = Mapping[str, Sequence[str]]

HEAD = """# What is said of capsules, and what is so

Statements about PyCapsule and DLPack from documentation, articles and discussions, in our own words, each with a
verdict and something that runs. The interpreter decides: `capsule-model claims` runs all of it on the one at hand,
`capsule-model claims ID` says what it saw. `capsule-model claims --record` writes this page, from [the claims](claims/)
and from what was measured ([format](formats/claims.md)).

A claim holds where what it foretells is seen. **true** and **false** were so wherever it was run, **true since** and
**true until** name the version, **depends** has proofs for both sides. A vector with *foretold* behind it is one in
which the claim foretells something of its own. What ends in undefined behaviour is shown by the model alone. What is
about intentions, history or the wording of a text runs nowhere: its verdict is **no behaviour**, and it is counted
apart.
"""


def page(claims: Claims, measured: Measured) -> str:
    """Return the page as Markdown; `measured` maps the ids of claims to the versions that bore them out."""
    lines = [HEAD]
    lines += _figures(claims)
    for subject in claims.subjects:
        lines += [
            "",
            f"## {subject.title}",
            "",
            "| claim | verdict | what is so | said in | shown by | run on |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row(claim, claims, measured.get(claim.id, ())) for claim in subject.claims]
    lines += ["", "## The documents", "", "| document | claims |", "|---|---|"]
    for document in claims.documents.values():
        named = [claim for claim in claims.all() if any(place.document == document.id for place in claim.where)]
        title = f"[{document.title}]({document.url})" if document.url else document.title
        links = ", ".join(f"[{claim.id}](#{claim.id})" for claim in named)
        lines.append(f'| <a id="document-{document.id}"></a>{title} ({document.id}) | {len(named)}: {links} |')
    return "\n".join(lines) + "\n"


def counts(claims: Iterable[Claim]) -> dict[str, int]:
    """Return how many claims have which verdict; versions are counted together."""
    found = Counter(re.sub(r" 3\.\d+", "", claim.verdict) for claim in claims)
    order = ("true", "false", "true since", "true until", "depends", NO_BEHAVIOUR)
    return {verdict: found[verdict] for verdict in order}


def versions(measured: Iterable[str]) -> str:
    """Return versions as a reader wants them: by build, those that follow each other as a range, libraries behind."""
    names = set(measured)
    parts = []
    for suffix, build in _BUILDS.items():
        minors = sorted(int(found[1]) for name in names if (found := re.fullmatch(rf"3\.(\d+){suffix}", name)))
        if minors:
            parts.append(build + ", ".join(_ranges(minors)))
    return "; ".join([*parts, *sorted(name for name in names if not name.startswith("3."))])


def _ranges(minors: Sequence[int]) -> Iterator[str]:
    """Yield ascending minor versions, those that follow each other as one."""
    first = last = minors[0]
    for minor in [*minors[1:], 0]:
        if minor == last + 1:
            last = minor
            continue
        yield f"3.{first}" if first == last else f"3.{first} to 3.{last}"
        first = last = minor


def read_measured(file: Path) -> dict[str, list[str]]:
    """Return what `specs/claims/measured.json` says; nothing where it is not there."""
    if not file.is_file():
        return {}
    document = json.loads(file.read_text("utf-8"))
    return {str(name): [str(version) for version in found] for name, found in document["claims"].items()}


def _figures(claims: Claims) -> list[str]:
    everything = claims.all()
    verdicts = list(counts(everything))
    lines = ["| document | claims | " + " | ".join(verdicts) + " |", "|---|--:|" + "--:|" * len(verdicts)]
    for document in claims.documents.values():
        named = [claim for claim in everything if any(place.document == document.id for place in claim.where)]
        lines.append(_figures_row(f"[{document.title}](#document-{document.id})", named))
    return [*lines, _figures_row("**all, each once**", everything)]


def _figures_row(name: str, claims: Sequence[Claim]) -> str:
    return f"| {name} | {len(claims)} | " + " | ".join(str(n or "·") for n in counts(claims).values()) + " |"


def _row(claim: Claim, claims: Claims, measured: Sequence[str]) -> str:
    where = "; ".join(f"[{place.document}](#document-{place.document}): {place.at}" for place in claim.where)
    proofs = "<br>".join(_shown_by(proof) for proof in claim.proofs) or "—"
    cells = (f'<a id="{claim.id}"></a>{claim.says}', f"**{claim.verdict}**", claim.truth or "so it is", where, proofs)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (*cells, versions(measured) or "—")) + " |"


def _shown_by(proof: Proof) -> str:
    side = "" if proof.holds is None else " (for)" if proof.holds else " (against)"
    if proof.script is not None:
        file, _, function = proof.script.partition(".")
        return f"[`{function}`](claims/{file}.py){side}"
    return f"`{proof.vector}`{' *foretold*' if proof.predicts is not None else ''}{side}"
