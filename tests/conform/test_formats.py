"""The four formats against live traffic: it keeps to the schemas, and the schemas refuse what is changed."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capsule_model.cli import run
from capsule_model.conform.expectations import load_expectations, shipped_ids
from capsule_model.locate import specs
from capsule_model.trace.schema import Validator

ROOT = Path(__file__).resolve().parents[2]
FORMATS = specs() / "formats"
CTYPES = [sys.executable, str(specs() / "adapters" / "ctypes_adapter.py")]
CONTROLS = [sys.executable, "-m", "capsule_model.conform.controls"]
ADAPTERS = Path(__file__).with_name("adapters")
REQUESTS = ("start", "run", "stop")
ANSWERS = ("started", "ran", "unsupported", "error", "stopped")


def schema(name: str) -> dict[str, Any]:
    """Return a schema of the specification."""
    found: dict[str, Any] = json.loads((FORMATS / f"{name}.schema.json").read_text())
    return found


def faults(validator: Validator, document: Any) -> list[Any]:
    """Return what a schema finds wrong with a document."""
    return list(validator.faults(document, 5))


def renamed(document: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a document with another name for one key."""
    return {(f"{name}s" if name == key else name): value for name, value in document.items()}


def conform(folder: Path, name: str, *options: str) -> tuple[int, dict[str, Any]]:
    """Return exit code and report of `conform` with `options`."""
    file = folder / f"{name}.json"
    code = run(["conform", "--json", str(file), *options])
    return code, json.loads(file.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder, while the controls can be imported from anywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        yield tmp_path_factory.mktemp("traffic")


@pytest.fixture(scope="module")
def live(folder: Path) -> tuple[int, dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """Return exit code, report and traffic of this interpreter over all vectors, and of a few words beside them."""
    log = folder / "traffic"
    tap = [sys.executable, str(ADAPTERS / "tap.py"), str(log)]
    code, report = conform(folder, "live", "--adapter", shlex.join([*tap, *CTYPES]))
    beyond = [
        {"seq": 1, "cmd": "run", "vector": {"steps": [{"op": "PyCapsule_Dance", "args": {}}]}},
        {"seq": 2, "cmd": "run", "vector": {"steps": [{"op": "Py_INCREF", "args": {"op": {"ref": "nobody"}}}]}},
        {"seq": 3, "cmd": "stop"},
    ]
    for adapter in (CTYPES, [*CONTROLS, "model"]):
        text = "".join(json.dumps(request) + "\n" for request in beyond)
        subprocess.run([*tap, *adapter], input=text, stdout=subprocess.DEVNULL, text=True, check=True)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return code, report, [(line["to"], json.loads(line["line"])) for line in lines]


def of_forms(*forms: str) -> Validator:
    """Return a validator of lines that have one of these forms of the protocol."""
    return Validator({**schema("protocol"), "oneOf": [{"$ref": f"#/$defs/{form}"} for form in forms]})


def test_protocol(live: Any) -> None:
    """Each line between runner and adapter keeps to the protocol in its direction, and every form of a line occurs."""
    code, _, traffic = live
    assert code == 0
    assert sum(line.get("cmd") == "run" for _, line in traffic) > 800
    whole = schema("protocol")
    assert sorted(entry["$ref"] for entry in whole["oneOf"]) == sorted(f"#/$defs/{f}" for f in REQUESTS + ANSWERS)
    for to, forms in (("adapter", REQUESTS), ("runner", ANSWERS)):
        lines = [line for direction, line in traffic if direction == to]
        assert len(lines) == len(traffic) / 2
        whole_line, one_way = Validator(whole), of_forms(*forms)
        for line in lines:
            assert faults(whole_line, line) == []
            assert faults(one_way, line) == []
        for form in forms:
            only = of_forms(form)
            assert any(not faults(only, line) for line in reversed(lines)), form


def test_protocol_refuses(live: Any) -> None:
    """A line with one key of another name, one value of another kind or a key too many is refused."""
    whole = schema("protocol")
    validator = Validator(whole)
    kinds = {form: of_forms(form) for form in REQUESTS + ANSWERS}
    chosen: dict[str, list[dict[str, Any]]] = {form: [] for form in kinds}
    for _, line in live[2][:4] + live[2][::7] + live[2][-12:]:
        chosen[next(form for form in kinds if not faults(kinds[form], line))].append(line)
    for form, lines in chosen.items():
        required = whole["$defs"][form]["required"]
        assert lines, form
        for line in lines[:30]:
            for key in line:
                assert faults(validator, line | {key: [[]]}), (form, key)
                assert key not in required or faults(validator, renamed(line, key)), (form, key)
            assert form == "started" or faults(validator, line | {"more": 1}), form
            for step in line.get("steps", [])[:3]:
                for key in ("error", "indicator", "events"):
                    assert faults(validator, line | {"steps": [renamed(step, key)]}), key
                assert faults(validator, line | {"steps": [step | {"indicator": "sets"}]})


@pytest.mark.parametrize("file", sorted((specs() / "vectors").rglob("*.json")), ids=lambda file: file.stem)
def test_vectors(file: Path) -> None:
    """Each shipped file keeps to the schema and names its format; a key of another name is refused."""
    validator = Validator(schema("vector"))
    document = json.loads(file.read_text())
    assert faults(validator, document) == []
    assert document["format"] == 1
    assert faults(validator, document | {"format": 2})
    first = document["vectors"][0]
    for key in first:
        assert faults(validator, {"format": 1, "vectors": [renamed(first, key)]}), key
    for key in first["steps"][0]:
        wrong = first | {"steps": [renamed(first["steps"][0], key)]}
        assert faults(validator, {"format": 1, "vectors": [wrong]}), key


@pytest.fixture(scope="module")
def reports(folder: Path, live: Any) -> dict[str, dict[str, Any]]:
    """Return reports of adapters that pass, fail and die, raw and with expectations made of their drafts."""
    target = "capsule.new.null-name"
    wanting = {
        "echo": shlex.join([*CONTROLS, "echo"]),
        "dying": shlex.join([sys.executable, str(ADAPTERS / "misbehaving.py"), "signal", target]),
        "noisy": shlex.join([sys.executable, str(ADAPTERS / "misbehaving.py"), "noise", target]),
        "null": shlex.join([*CONTROLS, "null"]),
    }
    found = {"live": live[1]}
    vectors = ["--vectors", str(specs() / "vectors" / "capsule" / "new.json")]
    for name, adapter in wanting.items():
        draft = folder / f"{name}.toml"
        _, found[name] = conform(folder, name, "--adapter", adapter, "--draft", str(draft), *vectors)
        text = draft.read_text().replace('reason = ""', 'reason = "A control."')
        filled = folder / f"{name}-filled.toml"
        filled.write_text(text.replace('link = ""', 'link = "https://example.org/#control"'))
        _, found[f"{name} declared"] = conform(
            folder, f"{name}-declared", "--adapter", adapter, "--expectations", str(filled), *vectors
        )
    return found


def test_reports(reports: dict[str, dict[str, Any]]) -> None:
    """Reports of every outcome, with and without expectations, keep to the schema."""
    validator = Validator(schema("report"))
    outcomes, classes, keys = set(), set(), set()
    for name, report in reports.items():
        assert faults(validator, report) == [], name
        assert report["format"] == 1
        for entry in report["vectors"]:
            outcomes.add(entry["outcome"])
            classes.add(entry.get("expected", {}).get("class"))
            keys |= entry.keys()
    assert {"passed", "failed", "unsupported", "undefined", "errored", "crashed"} <= outcomes
    assert classes == {None, "differs", "crash", "unsupported"}
    assert {"differences", "detail", "observation", "expected"} <= keys


def test_reports_of_an_older_version_stay_valid(reports: dict[str, dict[str, Any]]) -> None:
    """A report without what came later is of format 1 still; without what was there from the first it is not."""
    validator = Validator(schema("report"))
    for report in reports.values():
        old = {key: value for key, value in report.items() if key not in ("specification", "expectations")}
        old["summary"] = {k: v for k, v in report["summary"].items() if k not in ("expected", "unexpected")}
        old["vectors"] = [
            {k: v for k, v in entry.items() if k not in ("observation", "expected")} for entry in report["vectors"]
        ]
        assert faults(validator, old) == []
        for key in old:
            assert faults(validator, {k: v for k, v in old.items() if k != key}), key


def test_reports_refuse(reports: dict[str, dict[str, Any]]) -> None:
    """A key of another name is refused, at the top, in the summary and in a vector; a version is not another."""
    validator = Validator(schema("report"))
    for report in reports.values():
        assert faults(validator, report | {"format": 2})
        for key in report:
            assert faults(validator, renamed(report, key)), key
        for key in report["summary"]:
            assert faults(validator, report | {"summary": renamed(report["summary"], key)}), key
        for entry in report["vectors"]:
            for key in entry:
                assert faults(validator, report | {"vectors": [renamed(entry, key)]}), key
            if "expected" in entry:
                hostile = entry | {"expected": entry["expected"] | {"link": "javascript:alert(1)"}}
                assert faults(validator, report | {"vectors": [hostile]})


def test_drafts(reports: dict[str, dict[str, Any]], folder: Path) -> None:
    """A draft keeps to the schema but for its empty reasons and links; filled in, in every way."""
    assert reports
    validator = Validator(schema("expectations"))
    for name, classes in (
        ("echo", {"differs"}),
        ("dying", {"crash"}),
        ("noisy", {"differs"}),
        ("null", {"unsupported"}),
    ):
        draft = tomllib.loads((folder / f"{name}.toml").read_text())
        wanting = {path[2:] for path, _ in validator.faults(draft, 99)}
        assert wanting == {("reason",), ("link",)}, name
        filled = tomllib.loads((folder / f"{name}-filled.toml").read_text())
        assert faults(validator, filled) == []
        assert {entry["class"] for entry in filled["divergence"]} == classes
        refuse(validator, filled)


@pytest.mark.parametrize("file", sorted((specs() / "expectations").glob("*.toml")), ids=lambda file: file.stem)
def test_shipped_expectations(file: Path) -> None:
    """Each shipped file keeps to the schema, can be loaded, and is about the implementation that it is named for."""
    validator = Validator(schema("expectations"))
    document = tomllib.loads(file.read_text())
    assert faults(validator, document) == []
    refuse(validator, document)
    assert load_expectations(file, shipped_ids()).implementation == file.stem


def refuse(validator: Validator, document: dict[str, Any]) -> None:
    """Assert that another version, and any key of another name, is refused."""
    assert faults(validator, document | {"format": 2})
    for key in document:
        assert faults(validator, renamed(document, key)), key
    for entry in document["divergence"]:
        for key in entry:
            assert faults(validator, document | {"divergence": [renamed(entry, key)]}), key
        for name in entry["vectors"]:
            assert faults(validator, document | {"divergence": [entry | {"vectors": {name: "0123"}}]}), name


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("protocol", "# The adapter protocol: version 1"),
        ("vector", "# Vectors: format 1"),
        ("report", "# Reports: format 1"),
        ("expectations", "# Expectations: format 1"),
        ("inspect", "# Inspections: format 1"),
    ],
)
def test_text_schema_and_index_agree(name: str, heading: str) -> None:
    """Text, schema, its title and the list of formats name one version, and each names the other."""
    text = (FORMATS / f"{name}.md").read_text()
    assert text.splitlines()[0] == heading
    assert f"]({name}.schema.json)" in text
    whole = schema(name)
    version = heading.split()[-1]
    assert whole["$id"] == f"urn:capsule-model:{name}:{version}"
    assert re.search(rf"(format|version) {version}\b", whole["title"])
    assert (
        f"| {version} | [{name}.md]({name}.md) | [{name}.schema.json]({name}.schema.json) |"
        in (FORMATS / "README.md").read_text()
    )
