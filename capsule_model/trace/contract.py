"""Read the tables of the vector format: operations, error codes, and what each argument may be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from capsule_model.locate import specs

OBJECT_KINDS = ("None", "int", "str", "bytes", "list", "dict", "tuple", "function", "object", "class", "PyCapsule_Type")

ADDRESS_FORMS = frozenset({"null", "ref", "ptr", "cstr", "hex", "function", "object", "module", "arg"})
_INTEGER = frozenset({"integer"})
_WORD = frozenset({"word"})
_LIST = frozenset({"list"})
_BYTES = frozenset({"cstr", "hex"})
_STRING = frozenset({"null", "ref", "cstr", "hex"})

_SPECIAL_FORMS: dict[tuple[str, str], frozenset[str]] = {
    ("PyCapsule_Import", "no_block"): _INTEGER,
    ("PyCapsule_Import", "name"): _STRING,
    ("PyObject_RichCompare", "opid"): _WORD,
    ("PyObject_GetAttrString", "attr_name"): _STRING,
    ("PyObject_SetAttrString", "attr_name"): _STRING,
    ("pickle.dumps", "protocol"): _INTEGER,
    ("PyErr_SetString", "type"): frozenset({"cstr"}),
    ("PyErr_SetString", "message"): _STRING,
    ("malloc", "size"): _INTEGER,
    ("read", "size"): _INTEGER,
    ("string", "bytes"): frozenset({"cstr", "hex"}),
    ("write", "bytes"): frozenset({"hex"}),
    ("poke", "field"): _WORD,
    ("import", "module"): frozenset({"cstr"}),
    ("PyO3.version", "version"): _WORD,
    ("PyO3.reference", "size"): _INTEGER,
    ("PyO3.as_cstr", "unsafe"): _INTEGER,
    ("PyO3.drop", "attached"): _INTEGER,
    ("PyO3.import", "align"): _INTEGER,
    **{
        (f"PyO3.{constructor}", argument): forms
        for constructor in ("new", "new_with_destructor", "new_with_value", "new_with_value_and_destructor")
        for argument, forms in (("align", _INTEGER), ("traits", _LIST), ("value", _BYTES))
    },
}

# In a suite, arguments of one name have the same forms in every operation.
_FORMS_IN: dict[str, dict[str, frozenset[str]]] = {
    "dlpack": {
        **dict.fromkeys("dtype producer destructor deleter consumer field reading".split(), _WORD),
        **dict.fromkeys("offset read_only size stream copy".split(), frozenset({"null", "integer"})),
        **dict.fromkeys(
            "shape strides values device version prev_version max_version dl_device quirks index".split(),
            frozenset({"null", "list"}),
        ),
        "value": frozenset({"null", "integer", "word", "list"}),
    },
    "layers": {
        **dict.fromkeys("c_function c_type manner".split(), _WORD),
        **dict.fromkeys("abi api size slots slot fd unwritten index argument".split(), _INTEGER),
        **dict.fromkeys("c_functions arguments fields checks accepted".split(), frozenset({"list"})),
    },
}

_CHOICES: dict[tuple[str, str], tuple[str | int | None, ...]] = {
    ("PyObject_RichCompare", "opid"): ("<", "<=", "==", "!=", ">", ">="),
    ("poke", "field"): ("pointer", "name", "context", "destructor"),
    ("__dlpack__", "copy"): (None, 0, 1),
    ("from_dlpack", "copy"): (None, 0, 1),
}


@dataclass(frozen=True)
class Operation:
    """One row of `operations.json`."""

    name: str
    args: tuple[str, ...]
    returns: str
    needs: frozenset[str]
    optional: frozenset[str] = frozenset()
    suite: str = "capsule"

    def forms(self, argument: str) -> frozenset[str]:
        """Return the forms that `argument` may have."""
        of_suite = _FORMS_IN.get(self.suite, {}).get(argument, ADDRESS_FORMS)
        return _SPECIAL_FORMS.get((self.name, argument), of_suite)

    def choices(self, argument: str) -> tuple[str | int | None, ...] | None:
        """Return the values of which `argument` must be one, or None where its forms say it all."""
        return _CHOICES.get((self.name, argument))


def _table(name: str) -> Any:
    return json.loads((specs() / "formats" / name).read_text("utf-8"))


@cache
def operations() -> Mapping[str, Operation]:
    """Return the operations of format 1 by name."""
    rows = _table("operations.json")["operations"]
    return {
        name: Operation(
            name,
            tuple(row["args"]),
            row["returns"],
            frozenset(row.get("needs", ())),
            frozenset(row.get("optional", ())),
            row.get("suite", "capsule"),
        )
        for name, row in rows.items()
    }


@cache
def error_codes() -> Mapping[str, Mapping[str, str]]:
    """Return CPython's error codes: for each its exception `type` and the template of its `text`."""
    codes: dict[str, dict[str, str]] = _table("errors.json")["codes"]
    return codes


@cache
def vector_schema() -> Mapping[str, Any]:
    """Return the JSON Schema of one vector."""
    whole = _table("vector.schema.json")
    return {"$schema": whole["$schema"], "$ref": "#/$defs/vector", "$defs": whole["$defs"]}


def form_of(argument: Any) -> str:
    """Name the form of a schema-valid `argument`: its key, `null`, `integer`, `word` or `list`."""
    if argument is None:
        return "null"
    if isinstance(argument, int):
        return "integer"
    if isinstance(argument, str):
        return "word"
    if isinstance(argument, list):
        return "list"
    return str(next(key for key in argument if key != "offset"))
