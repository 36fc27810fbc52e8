"""What is read from the checkers' output, and how it is held against the model."""

from __future__ import annotations

from typing import Any

import pytest

from capsule_model.profiles import PROFILES
from capsule_model.sanitize.limits import LIMITS, limit_for
from capsule_model.sanitize.reports import Report, Tool, read_reports, running_step
from capsule_model.sanitize.run import Seen
from capsule_model.sanitize.verdict import Claim, Compared, claim_of, compare
from capsule_model.undefined import Kind

READ = """capsule_adapter: step 3
=================================================================
==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000014450 at pc 0x7f42768a8596 bp 0x7ff sp 0x7ff
READ of size 1 at 0x602000014450 thread T0
    #0 0x7f42768a8595 in strcmp
SUMMARY: AddressSanitizer: heap-use-after-free in strcmp
"""
FREED = """==7==ERROR: AddressSanitizer: attempting free on address which was not malloc()-ed: 0x6020 in thread T0
    #0 0x7f42768a8595 in free
SUMMARY: AddressSanitizer: bad-free in free
"""
CUT = "==7==ERROR: AddressSanitizer: attempting double-free on 0x6020 in thread T0:\n"
LOST = """==7==ERROR: LeakSanitizer: detected memory leaks

Direct leak of 80 byte(s) in 1 object(s) allocated from:
    #0 0x7fa8036b89cf in malloc
    #1 0x7fa801d84f4f in make_call capsule_adapter.c:1607

Direct leak of 20411 byte(s) in 415 object(s) allocated from:
    #0 0x7fa8036b89cf in malloc
    #1 0x564adee618ef in r_object Python/marshal.c:1185

SUMMARY: AddressSanitizer: 20491 byte(s) leaked in 416 allocation(s).
"""
INVALID = """**7** capsule_adapter: step 2
**7** capsule_adapter: end 2
**7** capsule_adapter: step 3
==7== Invalid read of size 1
==7==    at 0x4AFA070: strcmp (strcmp.S:249)
==7==  Address 0x5ac6850 is 0 bytes inside a block of size 2 free'd
==7==    at 0x484717B: free
==7==
**7** capsule_adapter: end 3
"""
UNWRITTEN = "==7== Conditional jump or move depends on uninitialised value(s)\n==7==    at 0x4AFA070: strcmp\n"
JUMP = "==7== Jump to the invalid address stated on the next line\n==7==    at 0x5AC6850: ???\n"
SIGNAL = "==7== Process terminating with default action of signal 11 (SIGSEGV): dumping core\n==7==  Bad permissions\n"
STEP_LOST = """==7== 6 bytes in 1 blocks are definitely lost in loss record 7 of 1,133
==7==    at 0x48447B4: malloc
==7==    by 0x52265B5: new_buffer (capsule_adapter.c:759)
"""
OTHER_LOST = "==7== 6 bytes in 1 blocks are definitely lost in loss record 7 of 9\n==7==    at 0x48447B4: malloc\n"


@pytest.mark.parametrize(
    ("tool", "text", "reports"),
    [
        ("asan", READ, [Report("heap-use-after-free", "3")]),
        ("asan", FREED, [Report("bad-free")]),
        ("asan", CUT, [Report("attempting double-free")]),
        ("asan", LOST, [Report("leak", leak=True)]),
        ("asan", "capsule_adapter: step 0\ncapsule_adapter: end 0\n", []),
        ("valgrind", INVALID, [Report("invalid-read", "3")]),
        ("valgrind", UNWRITTEN, [Report("uninitialised-value")]),
        ("valgrind", INVALID + UNWRITTEN, [Report("invalid-read", "3"), Report("uninitialised-value")]),
        ("valgrind", JUMP, [Report("invalid-jump")]),
        ("valgrind", SIGNAL, [Report("fatal-signal")]),
        ("valgrind", STEP_LOST + OTHER_LOST, [Report("leak", leak=True)]),
        ("valgrind", OTHER_LOST, []),
    ],
)
def test_report_is_read(tool: Tool, text: str, reports: list[Report]) -> None:
    """Each has the tool's own word, and what the interpreter itself loses is nobody's finding."""
    assert read_reports(tool, text) == reports


@pytest.mark.parametrize(
    ("lines", "step"),
    [
        ([], None),
        (["step 0", "end 0"], None),
        (["step 0", "end 0", "step 1"], "1"),
        (["step 1", "step 1/d.1/0", "end 1/d.1/0", "step 1/d.1/1"], "1/d.1/1"),
        (["step 1", "step 1/d.1/0", "end 1"], None),
    ],
)
def test_running_step_is_the_innermost_that_began_and_did_not_end(lines: list[str], step: str | None) -> None:
    """It is told by the marks of the adapter, also where a step inside another never came to its end."""
    assert running_step("".join(f"capsule_adapter: {line}\n" for line in lines)) == step


SILENT = Seen("silent")
BAD = Claim(Kind.DOUBLE_FREE, 2)


@pytest.mark.parametrize(
    ("claim", "seen", "compared"),
    [
        (BAD, Seen("reported", "double-free", "2"), Compared("agrees")),
        (BAD, Seen("died", "SIGSEGV", "2/d.1/0"), Compared("agrees")),
        (BAD, Seen("reported", "double-free", None), Compared("agrees", later=True)),
        (BAD, Seen("reported", "double-free", "1"), Compared("false alarm")),
        (BAD, Seen("silent", leaks=2), Compared("missed")),
        (BAD, Seen("timed-out", "60 seconds", "2"), Compared("missed")),
        (BAD, Seen("refused", "no"), Compared("not run")),
        (Claim(None, 3), SILENT, Compared("agrees")),
        (Claim(None, 3), Seen("silent", leaks=1), Compared("false alarm")),
        (Claim(None, 3), Seen("reported", "double-free", "2"), Compared("false alarm")),
        (Claim(None, 3), Seen("timed-out", "60 seconds", "2"), Compared("false alarm")),
        (Claim(None, 3), Seen("died", "SIGSEGV", "2"), Compared("false alarm")),
        (Claim(Kind.LEAK, 1), Seen("silent", leaks=1), Compared("agrees")),
        (Claim(Kind.LEAK, 1), SILENT, Compared("missed")),
        (Claim(Kind.LEAK, 1), Seen("reported", "double-free", "0"), Compared("false alarm")),
        (Claim(None, 2, aborts=True), Seen("died", "SIGABRT", "2"), Compared("agrees")),
        (Claim(None, 2, aborts=True), SILENT, Compared("not run")),
    ],
)
def test_verdict(claim: Claim, seen: Seen, compared: Compared) -> None:
    """Only what is reported at the step or behind it agrees, and a hang convicts nobody."""
    assert compare(claim, seen) == compared


def test_claim_is_the_models() -> None:
    """Kind and step are those of the profile at hand: a debug build ends what another one leaves undefined."""
    new: dict[str, Any] = {
        "op": "PyCapsule_New",
        "args": {"pointer": {"ptr": "p"}, "name": None, "destructor": {"function": "d"}},
    }
    inner = {"kind": "destructor", "steps": [{"op": "Py_DECREF", "args": {"op": {"arg": 0}}}]}
    steps = [new | {"bind": "c"}, {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}}]
    vector: dict[str, Any] = {"functions": {"d": inner}, "steps": steps}
    assert claim_of(vector, PROFILES["cpython-3.13"]) == Claim(Kind.NEGATIVE_REFCOUNT, 1)
    assert claim_of(vector, PROFILES["cpython-3.13-debug"]) == Claim(None, 1, aborts=True)
    assert claim_of({"steps": [new | {"bind": "c", "args": new["args"] | {"destructor": None}}]},
                    PROFILES["cpython-3.13"]) == Claim(Kind.LEAK, 1)  # fmt: skip


def test_limits_are_of_a_tool_a_kind_and_a_route() -> None:
    """A limit of one tool, kind, route or build explains no miss of another."""
    words = [limit.word for limit in LIMITS]
    assert len({*words}) == len(words)
    found = limit_for("asan", True, "uninitialised-read", "block-one")
    assert found is not None
    assert found.word == "not-told-whether-written"
    assert limit_for("valgrind", True, "uninitialised-read", "block-one") is None
    assert limit_for("asan", True, "wild-pointer", "destructor-opaque") is None
    assert limit_for("asan", True, "use-after-free", "repr") is None
    assert limit_for("asan", False, "use-after-free", "repr") is not None
    assert limit_for("valgrind", False, "use-after-free", "repr") is None
