"""Processes of an audit: whatever a library does to its own, the others answer, and the end is told."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import replace
from importlib import import_module

import pytest
from broken_described import described

from dlpack_model.audit.kit import Source
from dlpack_model.audit.probe import PROBES
from dlpack_model.audit.processes import Ended, Missing, Zygote, run_script
from dlpack_model.audit.registry import Library
from dlpack_model.audit.script import script_of

import_module("dlpack_model.audit.probes")

LIBRARY = described()
GOOD = LIBRARY.make
KEPT = ("kept", "__dlpack_device__() returns (1, 0)")


def answers(*makes: str, limit: float = 60, at_once: int = 2, library: Library = LIBRARY) -> list[Ended]:
    """Ask for the device of each array, and return the answers in this order."""
    with Zygote([library], at_once=at_once) as zygote:
        zygote.version(library)
        return [
            ended for _, ended in sorted(zygote.run([(PROBES["device-tuple"], {"make": one}) for one in makes], limit))
        ]


def refused(*libraries: Library, python: str = sys.executable) -> str:
    """Return what is said of libraries that cannot be had."""
    try:
        with Zygote(libraries, python) as zygote:
            found = [zygote.version(library) for library in libraries]
    except Missing as told:
        return str(told)
    raise AssertionError(f"nothing is missing: {found}")


@pytest.mark.parametrize(
    ("code", "died"),
    [
        ("__import__('os').abort()", "SIGABRT"),
        ("__import__('ctypes').string_at(0)", "SIGSEGV"),
        ("__import__('os')._exit(3)", "exit code 3"),
        ("__import__('sys').exit(3)", "exit code 3"),
        ("__import__('os')._exit(0)", "exit code 0"),
    ],
)
def test_death_is_told_and_survived(code: str, died: str) -> None:
    """How a probe's process dies is told, and the next one is answered."""
    dead, good = answers(code, GOOD, at_once=1)
    assert (dead.died, dead.told, dead.late) == (died, (), False)
    assert good == Ended(KEPT)


def test_last_words_are_told() -> None:
    """What a library writes to standard error before it dies is kept, with its last characters."""
    dead, _ = answers("__import__('os').write(2, b'x' * 9000 + b'free(): oh') and __import__('os').abort()", GOOD)
    assert dead.noise.endswith("xfree(): oh")
    assert len(dead.noise) == 2000


def test_hang_is_ended() -> None:
    """A probe that does not end is killed when its time is over, and the next one is answered."""
    late, good = answers("__import__('time').sleep(600)", GOOD, limit=1, at_once=1)
    assert (late.late, late.told, late.died) == (True, (), "")
    assert good == Ended(KEPT)


def test_exceptions_outside_the_question_are_unsupported() -> None:
    """An array that cannot be made is no finding, and its exception is told in one line."""
    assert answers("int('a\\nb')")[0].told == (
        "unsupported",
        "ValueError: invalid literal for int() with base 10: 'a\\nb'",
    )


def test_prints_are_no_answers() -> None:
    """What a library prints, when it is imported or later, is not taken for an answer."""
    loud = replace(LIBRARY, setup=LIBRARY.setup + "\nprint('{}', flush=True)\nimport os\nos.write(1, b'[1]')")
    told = """__import__('os').write(1, b'{"number": 7}\\n') and broken.arange(3)"""
    first, second = answers(told, GOOD, library=loud)
    assert (first.told, first.noise) == (KEPT, '{"number": 7}\n')
    assert second == Ended(KEPT)


def test_standard_input_has_nothing_for_a_library() -> None:
    """A library that reads standard input gets neither the questions to others nor a place to wait at."""
    made = f"__import__('os').read(0, 1 << 20) or {GOOD}"
    assert answers(made, *[GOOD] * 20, limit=20, at_once=1) == [Ended(KEPT)] * 21


def test_many_and_long_answers_arrive() -> None:
    """Questions and answers that no pipe can hold are asked and answered."""
    long = f"{GOOD}  # {'x' * 5000}\n"
    probe = PROBES["element"]
    look = {"make": "broken.filled(1 << 18)", "values": LIBRARY.values}
    with Zygote([LIBRARY]) as zygote:
        asked = [(probe, look)] * 2 + [(PROBES["device-tuple"], {"make": long})] * 60
        found = dict(zygote.run(asked, 60))
    assert [found[place].told[0] for place in (0, 1)] == ["facts"] * 2
    assert len(found[0].told[1]) > 1 << 19
    assert [found[place] for place in range(2, 62)] == [Ended(KEPT)] * 60


def test_failing_import_is_one_line() -> None:
    """A library that cannot be imported is missing, with the first line of the reason."""
    told = refused(replace(LIBRARY, setup="raise ImportError('no driver\\nat all')"))
    assert told == "broken: ImportError: no driver; expected a library that is installed"
    assert refused(replace(LIBRARY, version="broken.__version__")).startswith("broken: AttributeError: ")


def test_deadly_import_is_told() -> None:
    """A library that ends the process when it is imported is missing, and named."""
    told = "broken: the process ends while importing; expected a library that works"
    for code in ("os.abort()", "os._exit(0)", "raise SystemExit"):
        assert refused(replace(LIBRARY, setup=f"import os\n{code}")) == told


def test_others_are_there_beside_a_missing_one() -> None:
    """Of two libraries, the one that can be imported is asked."""
    missing = replace(LIBRARY, name="missing", setup="import no_such_module")
    with Zygote([missing, LIBRARY]) as zygote:
        assert zygote.version(LIBRARY) == "1.0"
        [(_, ended)] = zygote.run([(PROBES["device-tuple"], {"make": GOOD})], 60)
        with pytest.raises(Missing, match="missing: ModuleNotFoundError: No module named 'no_such_module'"):
            zygote.version(missing)
    assert ended == Ended(KEPT)


@pytest.mark.parametrize(
    ("python", "told"),
    [
        ("/no/such/python", "/no/such/python: No such file or directory; expected a Python that has the libraries"),
        ("/bin/true", "broken: the process ends while importing; expected a library that works"),
    ],
)
def test_python_that_is_none_is_told(python: str, told: str) -> None:
    """An interpreter that is not there, or does not answer, is told in one line."""
    assert refused(LIBRARY, python=python) == told


def test_death_of_the_process_of_the_libraries_is_told() -> None:
    """Where the process that forks is gone, that is told, and nothing waits for it."""
    asked = [(PROBES["device-tuple"], {"make": GOOD})] * 3
    with Zygote([LIBRARY]) as zygote:
        zygote.process.kill()
        zygote.process.wait()
        with pytest.raises(Missing, match="the process of the libraries died"):
            list(zygote.run(asked, 60))


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("print(1)\nprint('kept: all')", Ended(("kept: all",))),
        ("print('leak: one')\nraise SystemExit(1)", Ended(("leak: one",))),
        ("raise SystemExit(3)", Ended(died="exit code 3")),
        ("print('kept: all', flush=True)\nimport os\nos.abort()", Ended(("kept: all",), "SIGABRT")),
        ("import os\nos.write(2, b'gone')\nos.kill(os.getpid(), 9)", Ended((), "SIGKILL", noise="gone")),
        ("print('style: ' + 'x' * 9000)", Ended(("style: " + "x" * 1993,))),
        ("import os\nos.write(1, b'\\xff')", Ended(("\ufffd",))),
    ],
)
def test_script_is_told(text: str, ended: Ended) -> None:
    """Of a script, the last line that it prints, its signal or exit code, and its errors are told."""
    assert run_script(text, sys.executable, 60) == ended


def test_script_has_nothing_to_read() -> None:
    """A script gets nothing of what is typed to the audit."""
    kept, (read, write) = os.dup(0), os.pipe()
    try:
        os.dup2(read, 0)
        os.write(write, b"typed")
        os.close(write)
        assert run_script("print('kept:', open(0).read())", sys.executable, 60) == Ended(("kept:",))
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(read)


def test_script_that_hangs_is_ended() -> None:
    """A script that does not end is killed when its time is over."""
    assert run_script("import time\ntime.sleep(600)", sys.executable, 1) == Ended(late=True)


def test_words_that_are_counted_in_lie_low() -> None:
    """The first word of an old struct is the address of its elements: none looks like a count that never changes."""
    sources = [Source(b"dltensor") for _ in range(500)]
    assert len({source.data for source in sources}) == 500
    assert max(source.data for source in sources) < 3 << 30
    for source in sources:
        source.__dlpack__()
        address = ctypes.addressof(source.exports[0][1])
        ctypes.pythonapi.Py_IncRef(ctypes.c_void_p(address))
        assert source.state() == (1, 1)


def test_probe_that_forks_is_late_all_the_same() -> None:
    """A process that a probe left behind keeps nobody waiting: the limit holds, and the next probe is answered."""
    forking = "(__import__('os').fork(), __import__('time').sleep(600))"
    late, next_one = answers(forking, GOOD, limit=1, at_once=1)
    assert late.late
    assert next_one.told == KEPT


def test_import_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library whose import hangs is told in one line, as one that dies."""
    monkeypatch.setattr("dlpack_model.audit.processes.IMPORT_LIMIT", 1.0)
    hanging = replace(LIBRARY, setup="import time\ntime.sleep(600)")
    assert "the process ends while importing" in refused(hanging)


def test_python_that_answers_otherwise_is_told() -> None:
    """A program that is no Python is told in one line, also where it answers something."""
    assert "the process ends while importing" in refused(LIBRARY, python="/bin/echo")


def test_padded_elements_are_looked_up_in_bytes_of_their_own() -> None:
    """The script of a wrong element finds the fourth padded one in the fourth byte."""
    arguments = {"make": LIBRARY.padded, "index": "[3]", "value": "3", "rule": "''"}
    for raw, verdict in (("b'\\x03'", "kept"), ("b'\\x02'", "wrong values")):
        script = script_of(PROBES["element"], arguments | {"raw": raw}, LIBRARY, "padded")
        ended = run_script(script, sys.executable, 60)
        assert "".join(ended.told).startswith(f"{verdict}:")
