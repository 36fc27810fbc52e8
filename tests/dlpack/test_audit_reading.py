"""What a struct says of the elements, held against what the library reads: right ones pass, the wrong one is named."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from typing import Any

import pytest

from dlpack_model.audit.kit import Source
from dlpack_model.audit.probe import PROBES
from dlpack_model.audit.probes.elements import facts
from dlpack_model.audit.reading import judge

SAME = "from_dlpack/same-values"
PACKED = "DLDataType/packed-bits"
VERSIONED = b"dltensor_versioned"
FLAT = {"shape": (6,), "strides": (1,)}
INT4 = FLAT | {"bits": 4}


def looked(values: Any, *name: bytes, **fields: Any) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the verdict on a producer whose struct has these fields, and whose library reads these values."""
    told = facts(lambda: Source(*name, **fields), lambda array: values)
    assert told[0] == "facts"
    return judge(json.loads(told[1]), SAME)


def shown(arguments: dict[str, str], *name: bytes, **fields: Any) -> str:
    """Return the verdict of the probe that looks at one element."""
    given = {key: ast.literal_eval(code) for key, code in arguments.items()}
    return PROBES["element"].run(lambda: Source(*name, **fields), **given)[0]


def never(array: Any) -> Any:
    """Stand for the function of a library that must not be called."""
    raise AssertionError("the values are read")


@pytest.mark.parametrize(
    ("values", "name", "fields"),
    [
        ([[0, 1, 2], [3, 4, 5]], (), {}),
        ([[0, 1, 2], [3, 4, 5]], (VERSIONED,), {}),
        ([[0, 1, 2], [3, 4, 5]], (), {"strides": None}),
        ([[0, 3], [1, 4], [2, 5]], (), {"shape": (3, 2), "strides": (1, 3)}),
        ([[0, 0, 0], [1, 1, 1]], (), {"strides": (1, 0)}),
        ([4, 5], (), {"shape": (2,), "strides": (1,), "byte_offset": 16}),
        (2, (), {"shape": (), "strides": (), "byte_offset": 8}),
        ([[], []], (), {"shape": (2, 0)}),
        ([-1, 255 - 256], (), {"raw": b"\xff\xff", "bits": 8, "shape": (2,), "strides": (1,)}),
        ([True, False], (), {"raw": b"\x01\x00", "code": 6, "bits": 8, "shape": (2,), "strides": (1,)}),
        ([1 + 2j], (), {"raw": bytes.fromhex("0000803f00000040"), "code": 5, "bits": 64, "shape": (1,)}),
        ([float("nan")], (), {"raw": bytes.fromhex("0000c07f"), "code": 2, "shape": (1,)}),
        ([0, 1, 2, 3, -4, -2], (), INT4 | {"raw": b"\x10\x32\xec"}),
        ([0, 1, 2, 3, -4, -2], (VERSIONED,), INT4 | {"raw": b"\x00\x01\x02\x03\x0c\x0e", "flags": 4}),
        ([0.5, 1.0, 6.0], (), {"raw": b"\x21\x07", "code": 17, "bits": 4, "shape": (3,), "strides": (1,)}),
    ],
)
def test_right_elements_are_kept(values: Any, name: tuple[bytes, ...], fields: dict[str, Any]) -> None:
    """Elements of many types and layouts are read where the struct says, and are what the library reads."""
    (verdict, _), arguments = looked(values, *name, **fields)
    assert (verdict, arguments) == ("kept", {})


def test_elements_before_the_pointer_are_kept() -> None:
    """Negative strides are followed from the first element back."""
    backwards: Callable[[], Source] = lambda: Source(strides=(-3, -1), byte_offset=20)  # noqa: E731
    told = facts(backwards, lambda array: [[5, 4, 3], [2, 1, 0]])
    assert judge(json.loads(told[1]), SAME)[0][0] == "kept"
    told = facts(backwards, lambda array: [[5, 4, 3], [2, 0, 0]])
    assert judge(json.loads(told[1]), SAME)[1]["index"] == "[1, 1]"


@pytest.mark.parametrize(
    ("values", "fields", "index", "raw", "rule"),
    [
        ([[0, 1, 2], [3, 4, 5]], {"strides": (2, 1)}, [1, 0], b"\x03\x00\x00\x00", SAME),
        ([[0, 1, 2], [3, 4, 5]], {"strides": (3, 3)}, [0, 1], b"\x01\x00\x00\x00", SAME),
        ([0, 1, 2], {"raw": b"\0\0\0\0\0\0\0\1\0\0\0\2", "shape": (3,), "strides": (1,)}, [1], b"\1\0\0\0", SAME),
        ([0, 1, 2, 3, 4, 6], INT4 | {"raw": b"\x00\x01\x02\x03\x04\x06"}, [1], b"\x01", PACKED),
        ([0, 1, 2, 3, 4, -1], INT4 | {"raw": b"\x10\x32\x64"}, [5], b"\x0f", PACKED),
        ([1.5], {"raw": b"\0\0\0\0", "code": 2, "shape": (1,), "strides": (1,)}, [0], b"\x00\x00\xc0\x3f", SAME),
    ],
)
def test_wrong_element_is_named(values: Any, fields: dict[str, Any], index: Any, raw: bytes, rule: str) -> None:
    """Of wrong strides, byte order or packing, the first element that differs is told, and its own script shows it."""
    (verdict, text, broken), arguments = looked(values, **fields)
    assert (verdict, broken) == ("wrong values", rule)
    assert text.startswith(f"element {index} is ")
    told = {key: ast.literal_eval(code) for key, code in arguments.items()}
    assert (told["index"], told["raw"], told["rule"]) == (index, raw, rule)
    assert shown(arguments, **fields) == "wrong values"


def test_right_element_is_shown_as_right() -> None:
    """The probe of one element, asked for a right one, does not call it wrong."""
    arguments = {"index": "[1, 0]", "raw": r"b'\x03\0\0\0'", "value": "3", "rule": repr(SAME)}
    assert shown(arguments) == "kept"


@pytest.mark.parametrize("fields", [{"code": 99}, {"code": 2, "bits": 8}, {"code": 10, "bits": 16}, {"lanes": 0}])
def test_meaningless_type_is_told(fields: dict[str, Any]) -> None:
    """An element type that the header does not have breaks a rule, and nothing is read by it."""
    (verdict, text, rule), arguments = looked([0], shape=(1,), strides=(1,), **fields)
    assert (verdict, rule, arguments) == ("contract", "DLDataType/code-and-bits", {})
    assert text.startswith("an element type without a meaning: code ")


@pytest.mark.parametrize("values", [[0, 1], [0, 1, 2, 3], []])
def test_another_number_of_values_is_unsupported(values: Any) -> None:
    """A list that does not have an entry for each element says nothing about the elements."""
    (verdict, text), arguments = looked(values, shape=(3,), strides=(1,))
    assert (verdict, arguments) == ("unsupported", {})
    assert text == f"{len(values)} values in the library's list, 3 elements"


@pytest.mark.parametrize("value", ["1", None, {}, 1e9])
def test_value_that_the_type_cannot_be_is_unsupported(value: Any) -> None:
    """What a library reads and no element can hold is told, and does not end the audit."""
    (verdict, text), arguments = looked([0, value], shape=(2,), strides=(1,), code=2, bits=16, raw=bytes(4))
    assert (verdict, arguments) == ("unsupported", {})
    assert text.startswith("element [1] is ")


@pytest.mark.parametrize(
    "fields",
    [
        {"shape": (1 << 40,), "strides": (0,)},
        {"shape": (2,), "strides": (1 << 40,)},
        {"shape": (2,), "strides": (-(1 << 40),)},
        {"shape": (1 << 40,), "strides": None},
        {"shape": (1 << 20, 1 << 20, 1 << 22), "strides": (0, 0, 0)},
        {"shape": (2, 2), "strides": (1 << 62, -(1 << 62))},
    ],
)
def test_enormous_elements_are_not_read(fields: dict[str, Any]) -> None:
    """What a struct says of more than there can be is refused before anything is read."""
    verdict, text = facts(lambda: Source(**fields), never)
    assert verdict == "unsupported"
    assert text.endswith(" are too many to read")
