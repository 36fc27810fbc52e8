"""Inspections that were written as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from capsule_model.inspection.record import Asked, Capsule, Inspection, Place, Unreached

__all__ = ["read_inspections"]


def read_inspections(text: str) -> list[Inspection]:
    """Return what a document of format 1 tells; addresses, which are not written, are 0.

    What does not keep to the schema is a ``KeyError``, a ``TypeError`` or a ``ValueError``.
    """
    document = json.loads(text)
    if document["format"] != 1 or document["kind"] != "inspection":
        raise ValueError(
            f"format {document['format']!r} of kind {document['kind']!r}; expected an inspection of format 1"
        )
    return [_inspection(one) for one in document["interpreters"]]


def _inspection(told: Mapping[str, Any]) -> Inspection:
    return Inspection(
        told["python"],
        told["profile"],
        tuple(map(_capsule, told["capsules"])),
        {one["distribution"]: one["modules"] for one in told["groups"]},
        tuple((one["module"], one["why"]) for one in told["failed"]),
        tuple(Unreached(one["holder"], one["name"], one["count"]) for one in told["unreached"]),
    )


def _capsule(told: Mapping[str, Any]) -> Capsule:
    name = told["name"]
    return Capsule(
        tuple(told["paths"]),
        told["more_paths"],
        None if name is None else bytes.fromhex(name["hex"]) if "hex" in name else name["cstr"].encode(),
        _place(told["name_place"]),
        _place(told["pointer"]),
        _place(told["context"]),
        _place(told["destructor"]),
        _place(told["traverse"]),
        _place(told["clear"]),
        told["tracked"],
        told["references"],
        told["import"]["verdict"],
        told["import"]["why"],
        tuple(map(_asked, told["import"]["asked"])),
        tuple(told["disagreements"]),
    )


def _place(told: Mapping[str, Any] | None) -> Place | None:
    return None if told is None else Place(0, told["region"], told["library"], told["symbol"], told["offset"])


def _asked(told: Mapping[str, Any]) -> Asked:
    model = told["model"]
    known = None if model is None else (model["accepted"], _error(model["error"]))
    return Asked(told["path"], told["fresh"], told["accepted"], _error(told["error"]), known)


def _error(told: Mapping[str, str] | None) -> tuple[str, str] | None:
    return None if told is None else (told["type"], told["text"])
