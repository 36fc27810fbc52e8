"""From what a process tells of a capsule to what is known of it: symbols, a verdict on importing, disagreements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capsule_model.inspection.by_model import import_by_model, repr_by_model
from capsule_model.inspection.inside import is_path
from capsule_model.inspection.record import Asked, Capsule, Place
from capsule_model.inspection.symbols import symbols_of
from capsule_model.profiles import PROFILES
from capsule_model.trace.wording import clean

__all__ = ["VERDICTS", "asked_of", "capsule_of", "own_path"]

# What can come of PyCapsule_Import with the name of a capsule.
VERDICTS = {
    "accepted": "it is found under its name, also where nothing was imported before",
    "needs-import": "it is found under its name once the module that it lies in was imported, and not before",
    "null-name": "its name is NULL, which is equal to no path",
    "not-a-path": "its name is no dotted path",
    "no-module": "the module that its name begins with cannot be imported",
    "no-attribute": "its name leads to something that is not there",
    "no-capsule": "its name leads to something that is no capsule",
    "other-name": "its name leads to a capsule with another name",
    "other-capsule": "its name leads to another capsule of the same name",
    "not-asked": "the process that was to ask did not answer",
}
COMPARED = ("pointer", "name", "context", "destructor")


def own_path(facts: Mapping[str, Any]) -> str | None:
    """Return the name of a capsule where it is a path that can be asked for."""
    name = None if facts["name"] is None else bytes.fromhex(facts["name"]).decode(errors="replace")
    return name if name is not None and is_path(name) else None


def capsule_of(facts: Mapping[str, Any], profile: str, fresh: Mapping[str, Any] | None) -> Capsule:
    """Return what is known of a capsule; ``fresh`` is what a process that had imported nothing met under its name.

    What does not have the form that ``inside.py`` tells is a ``KeyError``, a ``TypeError`` or a ``ValueError``.
    """
    name = None if facts["name"] is None else bytes.fromhex(facts["name"])
    own = own_path(facts)
    asked = [asked_of(one, profile, fresh=False) for one in facts["asked"]]
    if fresh is not None:
        asked.append(asked_of(fresh, profile, fresh=True))
    warm = next((one for one in facts["asked"] if own is not None and bytes.fromhex(one["name"]) == name), None)
    verdict, why = _verdict(facts, own, warm, fresh)
    places = {key: _place(found) for key, found in facts["places"].items()}
    return Capsule(
        tuple(sorted(facts["paths"], key=lambda path: (path != own, len(path), path))),
        int(facts["more"]),
        name,
        places["name"],
        places["pointer"],
        places["context"],
        places["destructor"],
        places["traverse_func"],
        places["clear_func"],
        bool(facts["tracked"]),
        int(facts["references"]),
        verdict,
        why,
        tuple(asked),
        tuple(_disagreements(facts, name, profile, asked)),
    )


def asked_of(found: Mapping[str, Any], profile: str, *, fresh: bool) -> Asked:
    """Return what one call of ``PyCapsule_Import`` gave, and what it gives by the model."""
    name = bytes.fromhex(found["name"])
    error = None if found["error"] is None else (str(found["error"]["type"]), str(found["error"]["text"]))
    model = import_by_model(profile, name, found["walk"])
    return Asked(name.decode(errors="replace"), fresh, found["pointer"] != 0, error, model)


def _verdict(
    facts: Mapping[str, Any], own: str | None, warm: Mapping[str, Any] | None, fresh: Mapping[str, Any] | None
) -> tuple[str, str]:
    """Return the word for what comes of importing by the capsule's own name, and a sentence."""
    if facts["name"] is None:
        return "null-name", VERDICTS["null-name"]
    if own is None:
        return "not-a-path", VERDICTS["not-a-path"]
    if warm is None:
        return "not-asked", VERDICTS["not-asked"]
    error, walk = warm["error"], warm["walk"]
    if error is None and warm["pointer"] == facts["words"]["pointer"] and walk["end"]["address"] == facts["address"]:
        if fresh is None:
            return "not-asked", VERDICTS["not-asked"]
        if fresh["error"] is None:
            return "accepted", VERDICTS["accepted"]
        return "needs-import", f"{VERDICTS['needs-import']}: {_told(fresh['error'])}"
    if error is None:
        return "other-capsule", VERDICTS["other-capsule"]
    if walk["error"] is not None:
        word = "no-attribute" if walk["holders"] else "no-module"
        return word, f"{VERDICTS[word]}: {_told(walk['error'])}"
    if not walk["end"]["capsule"]:
        return "no-capsule", f"{VERDICTS['no-capsule']}, but of type {clean(walk['end']['type'])}"
    return "other-name", VERDICTS["other-name"]


def _told(error: Mapping[str, Any]) -> str:
    return clean(f"{error['type']}: {error['text']}", 200)


def _place(found: Mapping[str, Any] | None) -> Place | None:
    """Return where a pointer leads; a symbol that the file itself has, static ones too, counts before the loader's."""
    if found is None:
        return None
    address, file, base = int(found["address"]), found["file"], found["base"]
    if file is None or base is None:
        return Place(address, str(found["region"]))
    library = clean(Path(str(file)).name, 200)
    symbol = symbols_of(Path(str(file))).at(address - base)
    if symbol is None and found["symbol"] is not None and found["at"] is not None:
        symbol = str(found["symbol"]), address - int(found["at"])
    if symbol is None:
        return Place(address, "library", library, None, address - base)
    return Place(address, "library", library, clean(symbol[0], 500), symbol[1])


def _disagreements(facts: Mapping[str, Any], name: bytes | None, profile: str, asked: Sequence[Asked]) -> list[str]:
    """Say where the C API, the struct, repr and the model do not tell the same of one capsule."""
    words, seen = facts["words"], facts["seen"]
    found = [
        f"{field} is {words[field]:#x} in the struct and {seen[field]:#x} by the C API"
        for field in COMPARED
        if words[field] != seen[field]
    ]
    shown = repr_by_model(name, facts["address"])
    if facts["repr"] != shown[: len(facts["repr"])] or facts["whole"] != (len(facts["repr"]) == len(shown)):
        found.append(clean(f"repr is {facts['repr']}, and {shown} by the model", 400))
    if bool(facts["valid"]) != (words["pointer"] != 0):
        found.append(f"PyCapsule_IsValid gives {facts['valid']} and the pointer is {words['pointer']:#x}")
    if facts["tracked"] != bool(words.get("traverse_func", 0)):
        found.append(f"tracked is {facts['tracked']}, and the traverse function is {words.get('traverse_func', 0):#x}")
    if profile in PROFILES and tuple(words) != PROFILES[profile].fields:
        found.append(f"the struct has the words {', '.join(words)}; expected {', '.join(PROFILES[profile].fields)}")
    found += [
        clean(
            f"PyCapsule_Import of {one.path} gives {_answer(one.accepted, one.error)}; "
            f"the model gives {_answer(*one.model)}",
            600,
        )
        for one in asked
        if one.model is not None and not one.agrees
    ]
    return found


def _answer(accepted: bool, error: tuple[str, str] | None) -> str:
    return "a pointer" if accepted else "NULL" if error is None else f"{error[0]}: {error[1]}"
