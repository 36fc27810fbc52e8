"""The adapter in C: it sees what the ctypes adapter sees, survives what is no vector, and keeps nothing."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from capsule_model.conform.adapter import AdapterProcess
from capsule_model.conform.answers import Ran, Refused, Started, Unsupported
from capsule_model.conform.runner import Result, choose_profile, run_vectors
from capsule_model.conform.session import Session
from capsule_model.locate import specs
from capsule_model.trace.files import load

SOURCE = specs() / "adapters" / "capsule_adapter.c"
CTYPES = [sys.executable, str(specs() / "adapters" / "ctypes_adapter.py")]
NEW: dict[str, Any] = {
    "op": "PyCapsule_New",
    "args": {"pointer": {"ptr": "p"}, "name": {"cstr": "a"}, "destructor": None},
    "bind": "c",
}
GET: dict[str, Any] = {"op": "PyCapsule_GetPointer", "args": {"capsule": {"ref": "c"}, "name": {"cstr": "a"}}}
END: dict[str, Any] = {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}}
GOOD: dict[str, Any] = {"steps": [NEW, GET, END]}


def compiled(folder: Path, *more: str) -> list[str]:
    """Compile the adapter for this interpreter, with warnings as errors; return the command that runs it."""
    include = Path(sysconfig.get_path("include"))
    compiler = a_compiler()
    if compiler is None or not (include / "Python.h").exists():
        pytest.skip("needs a C compiler and the headers of this interpreter")
    target = folder / f"capsule_adapter{sysconfig.get_config_var('EXT_SUFFIX')}"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O1", f"-I{include}", *more]
    made = subprocess.run([*compiler, *flags, str(SOURCE), "-o", str(target)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    start = f"import sys; sys.path.insert(0, {str(folder)!r}); import capsule_adapter; capsule_adapter.main()"
    return [sys.executable, "-c", start]


def a_compiler() -> list[str] | None:
    """Return the command of a C compiler, None where there is none."""
    asked = (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc")
    commands = (shlex.split(command) for command in asked if command)
    return next((words for words in commands if shutil.which(words[0])), None)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the command that runs the adapter."""
    return compiled(tmp_path_factory.mktemp("c"))


@pytest.fixture(scope="module")
def under_asan(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the command that runs the adapter under AddressSanitizer, in an interpreter that is not built with it."""
    compiler = a_compiler()
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs a C compiler on Linux")
    asked = subprocess.run([*compiler, "-print-file-name=libasan.so"], capture_output=True, text=True)
    library = Path(asked.stdout.strip())
    if not library.is_absolute() or not library.exists():
        pytest.skip("needs a compiler with libasan")
    options = "detect_leaks=0:halt_on_error=1:exitcode=9"
    settings = [f"LD_PRELOAD={library}", f"ASAN_OPTIONS={options}", "PYTHONMALLOC=malloc"]
    return ["env", *settings, *compiled(tmp_path_factory.mktemp("asan"), "-g", "-fsanitize=address")]


class Recorder:
    """An adapter process that notes what it was asked and what it answered."""

    def __init__(self, command: list[str]) -> None:
        self._process = AdapterProcess(command)
        self.answers: dict[str, Ran | Unsupported | Refused] = {}

    def start(self) -> Started:
        """Start the process."""
        return self._process.start()

    def run(self, vector: Mapping[str, Any]) -> Ran | Unsupported | Refused:
        """Perform one vector and note the answer."""
        answer = self._process.run(vector)
        self.answers[json.dumps(vector)] = answer
        return answer

    def stop(self) -> None:
        """Stop the process."""
        self._process.stop()


def perform_all(command: list[str]) -> tuple[Started, list[Result], Recorder]:
    """Run every vector and its renamed copy."""
    recorder = Recorder(command)
    session = Session(recorder)
    about = session.start()
    try:
        vectors = load(specs() / "vectors" / "capsule").vectors
        results, bad = run_vectors(vectors, session, about, choose_profile(about, None)[0])
    finally:
        session.stop()
    assert bad == []
    return about, results, recorder


@pytest.fixture(scope="module")
def of_c(command: list[str]) -> tuple[Started, list[Result], Recorder]:
    """Run everything through the adapter in C."""
    return perform_all(command)


@pytest.fixture(scope="module")
def of_ctypes(command: list[str]) -> tuple[Started, list[Result], Recorder]:
    """Run everything through the ctypes adapter, which is the one to match."""
    return perform_all(CTYPES)


class Lines:
    """The adapter at the end of a pipe, spoken to line by line."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, line: bytes) -> dict[str, Any]:
        """Send one line and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert isinstance(answer, dict)
        return answer

    def run(self, vector: Any) -> dict[str, Any]:
        """Have a vector performed."""
        return self.ask(json.dumps({"seq": 7, "cmd": "run", "vector": vector}).encode())


@pytest.fixture(scope="module")
def lines(command: list[str]) -> Iterator[Lines]:
    """Keep one process for all that is malformed."""
    made = Lines(command)
    yield made
    assert made.ask(b'{"seq": 9, "cmd": "stop"}') == {"seq": 9, "stopped": True}
    assert made.process.stdin is not None
    assert made.process.stdout is not None
    made.process.stdin.close()
    assert made.process.stdout.read() == b""
    made.process.stdout.close()
    assert made.process.wait() == 0


def test_conforms_with_everything_supported(of_c: tuple[Started, list[Result], Recorder]) -> None:
    """No vector fails in any way, none is unsupported, and those that make sense here pass."""
    outcomes = {result.outcome for result in of_c[1]}
    assert outcomes == {"passed", "not-applicable", "undefined"}, [
        (result.id, result.outcome, result.detail)
        for result in of_c[1]
        if result.outcome not in ("passed", "not-applicable", "undefined")
    ]


def test_starts_as_the_ctypes_adapter_does(
    of_c: tuple[Started, list[Result], Recorder], of_ctypes: tuple[Started, list[Result], Recorder]
) -> None:
    """Implementation, version, profile and operations are the same, and no feature is missing."""
    ours, theirs = of_c[0], of_ctypes[0]
    assert (ours.implementation, ours.version, ours.profile) == (
        theirs.implementation, theirs.version, theirs.profile,
    )  # fmt: skip
    assert ours.ops >= theirs.ops
    assert ours.features >= theirs.features
    assert ours.absent == {}


def readable(theirs: Any, ours: Any) -> Any:
    """Leave out of what the ctypes adapter saw the bytes of strings that the other did not read: freed ones."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        hidden = {"cstr", "hex"} - ours.keys() if "ref" in ours else set()
        return {key: readable(value, ours.get(key)) for key, value in theirs.items() if key not in hidden}
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return [readable(*pair) for pair in zip(theirs, ours, strict=True)]
    return theirs


def test_sees_what_the_ctypes_adapter_sees(
    of_c: tuple[Started, list[Result], Recorder], of_ctypes: tuple[Started, list[Result], Recorder]
) -> None:
    """Both give the same observations, key by key, and the same leaks for every vector that both performed."""
    ours, theirs = of_c[2].answers, of_ctypes[2].answers
    common = [
        (mine, other) for vector, mine in ours.items()
        if isinstance(mine, Ran) and isinstance(other := theirs.get(vector), Ran)
    ]  # fmt: skip
    assert len(common) > 1000
    for mine, other in common:
        assert mine.steps == readable(other.steps, mine.steps)
        assert mine.leaks == other.leaks


def steps(*given: Any, **keys: Any) -> dict[str, Any]:
    """Return a vector with steps that follow a good one."""
    return {"steps": [NEW, *given], **keys}


def op(name: str, /, **args: Any) -> dict[str, Any]:
    """Return a step."""
    return {"op": name, "args": args}


D1: dict[str, Any] = {"kind": "destructor", "max_calls": 10**6, "steps": []}
RECURSIVE: dict[str, Any] = {
    **D1,
    "steps": [
        {"op": "PyCapsule_New", "args": {"pointer": {"ptr": "p"}, "name": None, "destructor": {"function": "d"}},
         "bind": "x"},
        op("Py_DECREF", op={"ref": "x"}),
    ],
}  # fmt: skip
MALFORMED: dict[str, Any] = {
    "no steps": {},
    "steps no list": {"steps": 5},
    "step no object": {"steps": [5]},
    "functions no object": {"steps": [], "functions": []},
    "function no object": {"steps": [], "functions": {"d": 5}},
    "function of no kind": {"steps": [], "functions": {"d": {"kind": "other"}}},
    "function with bad steps": {"steps": [], "functions": {"d": {"kind": "destructor", "steps": {}}}},
    "unknown native": {"steps": [], "functions": {"d": {"native": "system"}}},
    "too many functions": {"steps": [], "functions": {f"d{n}": D1 for n in range(65)}},
    "module no object": {"steps": [], "modules": {"cm_m": 5}},
    "module that exists": {"steps": [], "modules": {"json.tool": {}}},
    "module without a name": {"steps": [], "modules": {"": {}}},
    "value of no kind": {"steps": [], "modules": {"cm_m": {"loaded": True, "attrs": {"x": {"cstr": "x"}}}}},
    "exception of no kind": {"steps": [], "modules": {"cm_m": {"loaded": True, "raises": {"type": "int"}}}},
    "missing argument": steps(op("PyCapsule_GetPointer", capsule={"ref": "c"})),
    "other argument": steps(op("PyCapsule_GetName", op={"ref": "c"})),
    "arguments no object": steps({"op": "PyCapsule_GetName", "args": [1]}),
    "unknown reference": steps(op("PyCapsule_GetName", capsule={"ref": "nobody"})),
    "not an object": steps(op("Py_DECREF", op={"ptr": "p"})),
    "integer object": steps(op("Py_DECREF", op=4096)),
    "huge integer object": steps(op("Py_DECREF", op=10**300)),
    "integer name": steps(op("PyCapsule_GetPointer", capsule={"ref": "c"}, name=4096)),
    "fraction": steps(op("malloc", size=1.5)),
    "null object": steps(op("Py_INCREF", op=None)),
    "offset into an object": steps(op("PyCapsule_GetName", capsule={"ref": "c", "offset": 8})),
    "bad offset": steps(op("PyCapsule_GetName", capsule={"ref": "c", "offset": "8"})),
    "bad hex": steps(op("string", bytes={"hex": "6"})),
    "no hex": steps(op("string", bytes={"hex": "zz"})),
    "lone surrogate": steps(op("string", bytes={"cstr": "\ud800"})),
    "unknown object": steps(op("PyObject_Repr", o={"object": "set"})),
    "unknown module": steps(op("PyObject_Repr", o={"module": "cm_nowhere"})),
    "argument outside": steps(op("PyObject_Repr", o={"arg": 0})),
    "unknown comparison": steps(op("PyObject_RichCompare", o1={"ref": "c"}, o2={"ref": "c"}, opid="<>")),
    "unknown exception": steps(op("PyErr_SetString", type={"cstr": "Nope"}, message={"cstr": "x"})),
    "pending of no kind": steps({**GET, "pending": {"type": "Nope"}}),
    "pending no object": steps({**GET, "pending": 5}),
    "pending without text": steps({**GET, "pending": {"type": "UnicodeDecodeError", "text": "x"}}),
    "bind no name": steps({**GET, "bind": 5}),
    "thread no name": steps({**GET, "thread": 5}),
    "too many threads": steps(*({**GET, "thread": f"t{n}"} for n in range(65))),
    "read outside": steps(op("malloc", size=4) | {"bind": "b"}, op("read", ptr={"ref": "b"}, size=5)),
    "read far outside": steps(op("malloc", size=4) | {"bind": "b"}, op("read", ptr={"ref": "b"}, size=-1)),
    "read what is freed": steps(
        op("malloc", size=4) | {"bind": "b"}, op("free", ptr={"ref": "b"}), op("read", ptr={"ref": "b"}, size=1)
    ),
    "freed twice": steps(
        op("malloc", size=4) | {"bind": "b"}, op("free", ptr={"ref": "b"}), op("free", ptr={"ref": "b"})
    ),
    "free inside": steps(op("malloc", size=4) | {"bind": "b"}, op("free", ptr={"ref": "b", "offset": 1})),
    "write outside": steps(op("write", ptr={"ref": "c", "offset": 4096}, bytes={"hex": "00"})),
    "poke nowhere": steps(op("poke", op={"ref": "c"}, field="type", value=None)),
    "poke an int": steps(op("poke", op={"object": "int"}, field="pointer", value=None)),
    "much memory": steps(*(op("malloc", size=1 << 26) for _ in range(5))),
    "endless recursion": {"functions": {"d": RECURSIVE}, "steps": RECURSIVE["steps"]},
    "too many steps": {"steps": [op("PyErr_Clear")] * 10001},
    "long answer": {"functions": {"d": D1 | {"steps": [op("PyErr_Clear")] * 200}},
                    "steps": [step | {} for _ in range(200) for step in RECURSIVE["steps"]]},
}  # fmt: skip


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_vector_is_refused_in_one_line(what: str, lines: Lines) -> None:
    """What is wrong is said in a line with the request's number, and the next vector is performed as ever."""
    answer = lines.run(MALFORMED[what])
    assert answer.keys() - {"step"} == {"seq", "error"}
    assert answer["seq"] == 7
    assert 0 < len(answer["error"]) < 200
    assert "\n" not in answer["error"]
    good = lines.run(GOOD)
    assert [step.get("return") for step in good["steps"]] == [{"ref": "c"}, {"ptr": "p"}, None]
    assert good["leaks"] == []


@pytest.mark.parametrize(
    ("line", "seq"),
    [
        (b"", 0),
        (b"{", 0),
        (b"[1, 2]", 0),
        (b"\xff", 0),
        (b'{"seq": 3}', 3),
        (b'{"seq": "3", "cmd": "run"}', 0),
        (b'{"seq": 4, "cmd": "fly"}', 4),
        (b'{"seq": 5, "cmd": "run"}', 5),
        (b'{"seq": 6, "cmd": "run", "vector": []}', 6),
        (b'{"cmd": "\\ud8', 0),
        (b'{"seq": 8, "cmd": ' + b"[" * 70 + b"]" * 70 + b"}", 8),
        (b"[" * 100_000, 0),
        (b'{"seq": 01}', 0),
        (b'{"seq": 1, }', 0),
        (b'{"seq": 2, "cmd": "a\0b"}', 0),
        (b" " * (1 << 20) + b" {}", 0),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(line: bytes, seq: int, lines: Lines) -> None:
    """A line that is no request gets one line with what can be read of its number."""
    answer = lines.ask(line)
    assert answer.keys() == {"seq", "error"}
    assert answer["seq"] == seq
    assert lines.run(GOOD)["leaks"] == []


def test_unknown_operation_is_unsupported(lines: Lines) -> None:
    """A vector that needs more than there is gets no error, but its reason."""
    assert lines.run(steps(op("PyCapsule_Fly"))) == {"seq": 7, "unsupported": "operation PyCapsule_Fly"}


def test_an_object_is_one_still_when_its_address_is_named(lines: Lines) -> None:
    """A capsule that a context refers to, and that gets a name as such, is a capsule: its struct can be read."""
    new = op("PyCapsule_New", pointer={"ptr": "p"}, name=None, destructor=None)
    given = [
        {**new, "bind": "inner"},
        {**new, "bind": "outer"},
        op("PyCapsule_SetContext", capsule={"ref": "outer"}, context={"ref": "inner"}),
        {**op("PyCapsule_GetContext", capsule={"ref": "outer"}), "bind": "held"},
        op("read", ptr={"ref": "held"}, size=8),
        op("Py_DECREF", op={"ref": "inner"}),
        op("Py_DECREF", op={"ref": "outer"}),
    ]
    answer = lines.run({"steps": given})
    assert len(answer["steps"][4]["return"]["hex"]) == 16
    assert answer["leaks"] == []


def test_settling_with_a_step_changes_nothing_where_nothing_waits(lines: Lines) -> None:
    """A step that says settle shows what it shows without, errors and events included."""
    new = op("PyCapsule_New", pointer={"ptr": "p"}, name=None, destructor={"function": "d"})
    wrong = op("PyCapsule_GetPointer", capsule={"ref": "c"}, name={"cstr": "a"})
    given = [{**new, "bind": "c"}, wrong, op("Py_DECREF", op={"ref": "c"})]
    functions = {"d": {"kind": "destructor", "steps": [{"op": "PyErr_NoMemory", "leave": True}]}}
    plain, settled = (
        lines.run({"steps": [{**step, **more} for step in given], "functions": functions})
        for more in ({}, {"settle": True})
    )
    assert plain == settled
    assert [step["error"] and step["error"]["type"] for step in plain["steps"]] == [None, "ValueError", "MemoryError"]
    assert plain["steps"][2]["events"][0]["call"] == "d"


def test_address_sanitizer_has_nothing_to_report(under_asan: list[str]) -> None:
    """Over all defined vectors, neither the adapter nor the capsule code touches memory that is not theirs."""
    assert {result.outcome for result in perform_all(under_asan)[1]} == {"passed", "not-applicable", "undefined"}


def test_address_sanitizer_sees_a_name_that_is_freed_too_early(under_asan: list[str]) -> None:
    """What the adapter frees is poisoned, so that a capsule that reads it ends the process."""
    early = [
        {"op": "string", "args": {"bytes": {"cstr": "early"}}, "bind": "n"},
        {**NEW, "args": {**NEW["args"], "name": {"ref": "n"}}},
        op("free", ptr={"ref": "n"}),
        op("PyCapsule_IsValid", capsule={"ref": "c"}, name={"cstr": "early"}),
    ]
    request = json.dumps({"seq": 1, "cmd": "run", "vector": {"steps": early}})
    ended = subprocess.run(under_asan, input=request + "\n", capture_output=True, text=True)
    assert ended.returncode == 9
    assert "use-after-poison" in ended.stderr


def test_freed_name_is_no_name_any_more(lines: Lines) -> None:
    """A capsule whose name was freed too early is seen not to have it: what was freed is overwritten at once."""
    answer = lines.run(
        {
            "steps": [
                {"op": "string", "args": {"bytes": {"cstr": "early"}}, "bind": "n"},
                {**NEW, "args": {**NEW["args"], "name": {"ref": "n"}}},
                op("PyCapsule_IsValid", capsule={"ref": "c"}, name={"cstr": "early"}),
                op("free", ptr={"ref": "n"}),
                op("PyCapsule_IsValid", capsule={"ref": "c"}, name={"cstr": "early"}),
            ]
        }
    )  # fmt: skip
    assert [step.get("return") for step in answer["steps"]] == [{"ref": "n"}, {"ref": "c"}, 1, None, 0]
    assert answer["leaks"] == ["c"]


def test_undefined_behaviour_is_performed_where_it_is_asked_for(command: list[str]) -> None:
    """What is refused otherwise is done, in memory as a program has it, and standard error tells the step."""
    read = op("read", ptr={"ref": "b", "offset": 4}, size=1)
    overrun = [op("malloc", size=4) | {"bind": "b"}, op("write", ptr={"ref": "b"}, bytes={"hex": "0102030405"}), read]
    null = [*overrun, {"op": "poke", "args": {"op": None, "field": "name", "value": None}}]
    requests = [{"seq": 1, "cmd": "start", "protocol": 1}]
    requests += [
        {"seq": n, "cmd": "run", "undefined": True, "vector": {"steps": s}} for n, s in ((2, overrun), (3, null))
    ]
    text = "".join(json.dumps(request) + "\n" for request in requests)
    ended = subprocess.run(command, input=text, capture_output=True, text=True)
    about, answer = map(json.loads, ended.stdout.splitlines())
    assert "undefined" in about["features"]
    assert answer["steps"][2]["return"] == {"hex": "05"}
    assert answer["leaks"] == ["b"]
    assert ended.returncode < 0
    assert ended.stderr.splitlines()[-3:] == [f"capsule_adapter: {what}" for what in ("step 2", "end 2", "step 3")]


def test_undefined_behaviour_is_what_the_checker_is_told(under_asan: list[str]) -> None:
    """In such a run what is freed is freed, and literals and opaque places are no blocks: in the checker's words."""
    for ptr, word in (({"ref": "n"}, "heap-use-after-free"), ({"cstr": "a"}, "bad-free"), ({"ptr": "p"}, "bad-free")):
        given = [
            {"op": "string", "args": {"bytes": {"cstr": "early"}}, "bind": "n"},
            {**NEW, "args": {**NEW["args"], "name": {"ref": "n"}}},
            op("free", ptr=ptr),
            op("PyCapsule_IsValid", capsule={"ref": "c"}, name={"cstr": "early"}),
        ]
        request = json.dumps({"seq": 1, "cmd": "run", "undefined": True, "vector": {"steps": given}})
        ended = subprocess.run(under_asan, input=request + "\n", capture_output=True, text=True)
        assert ended.returncode == 9
        assert word in ended.stderr


def test_nothing_of_a_vector_is_seen_by_the_next(lines: Lines) -> None:
    """A leaked capsule's destructor, an indicator, a module and a hook are gone when the next vector runs."""
    left = {
        "functions": {"d": {"kind": "destructor", "steps": []}},
        "modules": {"cm_m": {"loaded": True, "attrs": {"x": {"capsule": {"pointer": {"ptr": "p"}}}}}},
        "steps": [
            {**NEW, "args": {**NEW["args"], "destructor": {"function": "d"}}},
            {**op("PyErr_SetString", type={"cstr": "ValueError"}, message={"cstr": "x"}), "leave": True},
            {**op("PyErr_SetString", type={"cstr": "KeyError"}, message={"cstr": "x"}), "leave": True, "thread": "t"},
        ],
    }  # fmt: skip
    assert lines.run(left)["leaks"] == ["c"]
    after = {
        "functions": {"d": {"kind": "destructor", "steps": []}},
        "steps": [op("PyErr_Occurred"), {**op("PyErr_Occurred"), "thread": "t"}, op("gc.collect"),
                  op("import", module={"cstr": "cm_m"}), op("settle")],
    }  # fmt: skip
    answer = lines.run(after)
    assert [step["events"] for step in answer["steps"]] == [[]] * 5
    assert [step.get("return") for step in answer["steps"]] == [None, None, None, -1, None]
    assert answer["steps"][0]["indicator"] == answer["steps"][1]["indicator"] == "clear"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_vectors(lines: Lines) -> None:
    """Thousands of vectors take no more memory than the first hundred."""
    vector = {
        "functions": {"d": {"kind": "destructor", "steps": [op("PyCapsule_GetName", capsule={"arg": 0})]}},
        "modules": {"cm_m": {"loaded": True, "attrs": {"x": {"capsule": {"pointer": {"ptr": "p"}}}}}},
        "steps": [op("malloc", size=5000), {**NEW, "args": {**NEW["args"], "destructor": {"function": "d"}}},
                  {**GET, "pending": {"type": "ValueError", "text": "x"}}, op("PyObject_Repr", o={"ref": "c"}), END],
    }  # fmt: skip

    def pages() -> int:
        return int(Path(f"/proc/{lines.process.pid}/statm").read_text().split()[1])

    for _ in range(200):
        lines.run(vector)
    before = pages()
    for _ in range(2000):
        lines.run(vector)
    assert (pages() - before) * os.sysconf("SC_PAGE_SIZE") < 1 << 20
