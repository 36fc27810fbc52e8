"""PyO3 itself does what the model says: every vector that a version can perform, performed by it.

``PYO3_CONFIGS`` may name files for cargo that say where crates are, as a PATH does; without it cargo has to have them.
``PYO3_PYTHONS`` may name more interpreters from CPython 3.11 on, with a GIL, to run in.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyo3_real.build import Built, Missing, build, configurations, refusal, source_of

from capsule_model.locate import specs
from capsule_model.profiles import PROFILES
from capsule_model.suites import vectors_of
from capsule_model.trace.execute import Run, run
from capsule_model.trace.expectation import compare, error_code
from capsule_model.trace.files import load
from capsule_model.trace.meaning import Known

Vector = dict[str, Any]
PYTHONS = [sys.executable, *filter(None, os.environ.get("PYO3_PYTHONS", "").split(os.pathsep))]
ADAPTER = Path(__file__).parent / "pyo3_real" / "adapter.py"
SINCE_0_29 = ("PyO3.new_with_value", "PyO3.new_with_value_and_destructor", "PyO3.import_pointer")
# What may be borrowed, where the closure may live longer.
BORROWS = 'let s = String::from("s"); PyCapsule::{}(py, 1u32, {}, |_, _| {{ let _ = s.len(); }})?'


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Built]:
    """Build the module with each PyO3 that there is."""
    found, reasons = list[Built](), list[str]()
    for configuration in configurations():
        try:
            found.append(build(tmp_path_factory.mktemp("pyo3"), configuration))
        except Missing as missing:
            reasons.append(str(missing))
    if not found:
        pytest.skip("; ".join(reasons))
    return found


def _vectors(version: str) -> list[Vector]:
    """Return the vectors that a version can perform, without the steps that are undefined."""
    loaded = load(vectors_of("layers"), Known(None, None, None))
    chosen = []
    for vector in loaded.vectors:
        told = {step["args"]["version"] for step in vector["steps"] if step["op"] == "PyO3.version"}
        expects = [step.get("expect", {}) for step in vector["steps"]]
        if not vector["id"].startswith("layers.pyo3.") or any(_refused(expect) for expect in expects):
            continue
        if not told <= {version} or (version == "0.28" and any(step["op"] in SINCE_0_29 for step in vector["steps"])):
            continue
        steps = [*vector["steps"][: -1 if "undefined" in expects[-1] else None]]
        if version != "0.29" and not told:
            steps.insert(0, {"op": "PyO3.version", "args": {"version": version}})
        chosen.append({**vector, "steps": steps})
    return chosen


def _refused(expect: dict[str, Any]) -> bool:
    fields = expect.get("return")
    return isinstance(fields, dict) and (fields.get("fields", {}).get("compiles") == 0 or "absent" in fields)


def _performed(python: str, built: Built, vectors: list[Vector], folder: Path) -> list[dict[str, Any]]:
    file = folder / "vectors.json"
    file.write_text(json.dumps(vectors), "utf-8")
    command = [python, str(ADAPTER), str(built.library), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def _coded(observation: dict[str, Any]) -> dict[str, Any]:
    """Return what was seen with the exception of a result as the model shows it: by its code, if it has one."""
    returned = observation.get("return")
    if not isinstance(returned, dict) or len(returned.get("fields", {}).get("Err", ())) != 2:
        return observation
    kind, text = returned["fields"]["Err"]
    code = error_code({"type": kind, "text": text})
    return observation | {"return": {"fields": {"Err": [kind] if code == "unclassified" else [kind, code]}}}


@pytest.mark.parametrize("python", PYTHONS)
def test_pyo3_does_what_the_model_says(built: list[Built], python: str, tmp_path: Path) -> None:
    """Returns, errors, the indicator, events of every step are the model's, and a panic ends the process."""
    asked = "import sys; print('cpython-%d.%d' % sys.version_info[:2])"
    profile = PROFILES[subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()]
    for one in built:
        vectors = _vectors(one.version.rpartition(".")[0])
        performed = _performed(python, one, vectors, tmp_path)
        assert [answer["id"] for answer in performed] == [vector["id"] for vector in vectors]
        assert len(vectors) > (45 if one.version.startswith("0.29.") else 15)
        for vector, answer in zip(vectors, performed, strict=True):
            expected = run(vector, profile)
            assert answer["fault"] is None, vector["id"]
            assert answer["signal"] == _signal(expected), vector["id"]
            seen = [_coded(step) for step in answer["steps"]]
            assert len(seen) == len(expected.steps), vector["id"]
            for index, (model, real) in enumerate(zip(expected.steps, seen, strict=True)):
                assert compare(model, real, f"{vector['id']}: {index}") == []


def _signal(expected: Run) -> int:
    assert expected.diagnosis is None
    return signal.SIGABRT if expected.aborted else 0


REFUSED_BY_0_29 = [
    ('PyCapsule::new_with_value(py, Rc::new(1), c"foo")?', "cannot be sent between threads safely"),
    (
        'let name = CString::new("foo").unwrap(); PyCapsule::new_with_value(py, 1u32, &name)?',
        "does not live long enough",
    ),
    (
        'let name = CString::new("foo").unwrap(); let p = NonNull::<c_void>::dangling(); '
        "unsafe { PyCapsule::new_with_pointer(py, p, &name)? }",
        "does not live long enough",
    ),
    (
        'let rc = Rc::new(1); PyCapsule::new_with_value_and_destructor(py, 1u32, c"foo", move |_, _| drop(rc))?',
        "cannot be sent between threads safely",
    ),
    (BORROWS.format("new_with_value_and_destructor", 'c"foo"'), "may outlive the current function"),
    (BORROWS.format("new_with_destructor", "None"), "may outlive the current function"),
    ('PyCapsule::new_with_value(py, 1u32, c"foo")?.pointer()', "no method named `pointer`"),
    ('PyCapsule::new_with_value(py, 1u32, c"foo")?.is_valid()', "no method named `is_valid`"),
    ('PyCapsule::new_with_value(py, 1u32, c"foo")?.name()?.unwrap().as_cstr()', "requires unsafe"),
    ('PyCapsule::new_with_value(py, (), c"foo")?', ""),
    ('fn item() {} PyCapsule::new_with_value(py, item, c"foo")?', ""),
]
REFUSED_BY_0_28 = [
    ("PyCapsule::new(py, (), None)?", "PyCapsule value type T must not be zero-sized"),
    ("fn item() {} PyCapsule::new(py, item, None)?", "PyCapsule value type T must not be zero-sized"),
    ("fn item() {} PyCapsule::new(py, item as fn(), None)?", ""),
    ("PyCapsule::new(py, Rc::new(1), None)?", "cannot be sent between threads safely"),
    ('PyCapsule::new_with_value(py, 1u32, c"foo")?', "no function or associated item named `new_with_value`"),
    ('PyCapsule::import_pointer(py, c"m.cap")?', "no function or associated item named `import_pointer`"),
    (BORROWS.format("new_with_destructor", "None"), ""),
]


def test_the_compiler_refuses_what_the_model_refuses(built: list[Built]) -> None:
    """Each bound that the model speaks of is one of the real types, in the versions that it says."""
    for one in built:
        for body, wanted in REFUSED_BY_0_28 if one.version.startswith("0.28.") else REFUSED_BY_0_29:
            said = refusal(one, body)
            assert wanted in said if wanted else not said, (one.version, body, said)


def test_every_test_of_pyo3_is_in_the_table(built: list[Built]) -> None:
    """The tests in PyO3's module of capsules are those that the chapter names."""
    table = re.findall(r"^\| `(test_\w+)` \|", (specs() / "layers" / "pyo3.md").read_text("utf-8"), re.MULTILINE)
    for one in built:
        text = (source_of(one) / "src" / "types" / "capsule.rs").read_text("utf-8")
        tests = re.findall(r"#\[test\]\s+(?:#\[.*\]\s+)*fn (\w+)", text)
        assert len(tests) > 15
        assert set(tests) <= set(table)
        if one.version.startswith("0.29."):
            assert set(tests) == set(table)


def test_no_cargo_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cargo, one line says what is expected."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match=r"\Ano cargo; expected one of Rust 1\.82 or newer\Z"):
        build(tmp_path / "built", None)
