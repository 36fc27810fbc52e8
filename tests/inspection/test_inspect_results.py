"""The committed inspections: of the interpreters that are asked for, in agreement, with pages that are up to date."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from capsule_model.inspection.page import as_markdown
from capsule_model.inspection.reading import read_inspections
from capsule_model.inspection.record import Inspection, as_json
from capsule_model.locate import specs
from capsule_model.trace.schema import Validator

RESULTS = Path(__file__).parents[2] / "specs" / "results"
FILES = ("inspect", "inspect-libraries")


def committed(name: str) -> list[Inspection]:
    """Return what is committed."""
    return read_inspections((RESULTS / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", FILES)
def test_result_keeps_to_its_format(name: str) -> None:
    """The schema finds nothing wrong, and what was read is written again byte for byte."""
    text = (RESULTS / f"{name}.json").read_text("utf-8")
    schema = json.loads((specs() / "formats" / "inspect.schema.json").read_text("utf-8"))
    assert list(Validator(schema).faults(json.loads(text), 5)) == []
    assert as_json(read_inspections(text)) == text


@pytest.mark.parametrize("name", FILES)
def test_page_is_that_of_the_result(name: str) -> None:
    """The page is what ``--markdown`` wrote beside ``--json``."""
    assert (RESULTS / f"{name}.md").read_text("utf-8") == as_markdown(committed(name))


@pytest.mark.parametrize("name", FILES)
def test_everything_agrees(name: str) -> None:
    """C API, struct, repr and model tell the same of every capsule; no call of PyCapsule_Import is beyond the model."""
    for one in committed(name):
        assert one.disagreements == 0
        assert all(asked.model is not None and asked.agrees for capsule in one.capsules for asked in capsule.asked)


def test_interpreters_that_are_asked_for() -> None:
    """3.11, 3.13 with and without the GIL, and 3.15, each with the C interfaces of its standard library."""
    found = committed("inspect")
    assert [one.profile for one in found] == [
        "cpython-3.11",
        "cpython-3.13",
        "cpython-3.13-free-threaded",
        "cpython-3.15",
    ]
    for one in found:
        accepted = {capsule.paths[0] for capsule in one.capsules if capsule.verdict == "accepted"}
        assert {"datetime.datetime_CAPI", "_socket.CAPI", "pyexpat.expat_CAPI", "unicodedata._ucnhash_CAPI"} <= accepted


def test_libraries_that_are_asked_for() -> None:
    """NumPy's tables have no name, and what Cython publishes is named by signatures: none can be imported."""
    (one,) = committed("inspect-libraries")
    assert {"numpy", "lxml", "pillow", "pyarrow"} <= set(one.groups)
    by_path = {path: capsule for capsule in one.capsules for path in capsule.paths}
    assert by_path["numpy._core.multiarray._ARRAY_API"].verdict == "null-name"
    assert by_path["lxml.etree.__pyx_capi__[elementFactory]"].verdict == "not-a-path"


def test_what_is_no_inspection() -> None:
    """Another version or another kind is refused."""
    for text in ('{"format": 2, "kind": "inspection"}', '{"format": 1, "kind": "dlpack-audit"}'):
        with pytest.raises(ValueError, match="expected an inspection of format 1"):
            read_inspections(text)
