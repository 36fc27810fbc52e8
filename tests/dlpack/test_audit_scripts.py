"""The scripts of findings: short, on their own, and true to what the probe saw."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib import import_module

import pytest
from audit_samples import HOSTILE
from broken_described import described

from dlpack_model.audit import script
from dlpack_model.audit.probe import PROBES
from dlpack_model.audit.processes import Ended, run_script
from dlpack_model.audit.registry import LIBRARIES, Library, library_named
from dlpack_model.audit.run import plan
from dlpack_model.audit.script import MOST_LINES, arguments_of, script_of

import_module("dlpack_model.audit.probes")

BROKEN = "__dlpack_device__/tuple"
NESTED = """
try:
    one()
except KeyError:
    two()
for x in y:
    if x:
        three()
    else:
        four()
    if not x:
        for z in x:
            five()
        six()
if y:
    while x:
        seven()
if z:
    eight()
    nine()
class Empty:
    pass
"""


def scripts(library: Library) -> Iterator[tuple[str, str]]:
    """Yield probe and script of everything that is asked of a library."""
    asked, _ = plan(library, lambda probe: True)
    for one in asked:
        yield one.probe.id, script_of(one.probe, one.arguments, library, f"{library.name}: {one.case.label}")


def of_probe(name: str, library: Library, title: str = "") -> str:
    """Return the script of a probe's first case."""
    probe = PROBES[name]
    arguments = arguments_of(probe, probe.cases[0], library)
    assert arguments is not None
    return script_of(probe, arguments, library, title)


def imported(tree: ast.AST) -> set[str]:
    """Return the modules and packages that some code imports."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert not node.level
            found.add(node.module.partition(".")[0])
    return found


def run(library: Library, probe: str) -> Ended:
    """Run the script of a probe's first case."""
    return run_script(of_probe(probe, library), sys.executable, 60)


@pytest.mark.parametrize("name", [*LIBRARIES, "json.tool"])
def test_every_script_is_short_and_on_its_own(name: str) -> None:
    """A script has at most 60 lines, is Python, and imports the standard library and the library alone."""
    library = library_named(name)
    allowed = sys.stdlib_module_names | imported(ast.parse(library.setup))
    probes = set[str]()
    for probe, text in scripts(library):
        assert text.count("\n") <= MOST_LINES == 60, probe
        assert imported(ast.parse(text)) <= allowed, probe
        assert "dlpack_model" not in text, probe
        assert "capsule_model" not in text, probe
        assert len(max(text.split("\n")[0].splitlines(), key=len)) <= 120, probe
        probes.add(probe)
    sides = {PROBES[probe].side for probe in probes}
    assert sides == {"consumer"} | ({"producer", "exchange-api"} if library.make else set())


@pytest.mark.parametrize(
    "title",
    [
        '"""\nimport os',
        "'''\r\nimport os",
        "\\",
        'ends with "',
        'ends with \\"',
        "\\N{no such}\\u12",
        "\x00\x1b[31m",
        HOSTILE,
    ],
)
def test_title_cannot_leave_the_docstring(title: str) -> None:
    """Whatever a library says stays in one printable line of the docstring, and the code is the same."""
    library = described()
    text, plain = (of_probe("device-tuple", library, each) for each in (title, "plain"))
    assert text.isascii() or text.split("\n")[0].isprintable()
    assert ast.dump(ast.Module(ast.parse(text).body[1:], [])) == ast.dump(ast.Module(ast.parse(plain).body[1:], []))
    assert ast.get_docstring(ast.parse(text)) is not None
    assert text.split("\n")[1:] == plain.split("\n")[1:]


def test_script_of_a_kept_rule_succeeds() -> None:
    """Where a library keeps the rule, its script says so and ends with 0."""
    text = of_probe("device-tuple", described())
    ended = run_script(text + "raise SystemError\n", sys.executable, 60)
    assert ended.told == ("kept: __dlpack_device__() returns (1, 0)",)
    assert "SystemError" not in ended.noise
    assert ended.died == ""


def test_script_of_a_broken_rule_fails() -> None:
    """Where a library breaks the rule, its script says how bad that is and ends with 1."""
    text = of_probe("device-tuple", described(BROKEN))
    caught = text.replace("sys.exit(", "print('ends with', int(").replace("'unsupported'))", "'unsupported')))")
    assert run_script(text, sys.executable, 60).told[0].startswith("contract: __dlpack_device__() returns ")
    assert run_script(caught, sys.executable, 60).told == ("ends with 1",)


def test_script_says_what_the_probe_says() -> None:
    """A consumer's script uses the library's own functions, and sees the same as the probe."""
    assert run(described(), "values").told[0].startswith("kept: ")
    assert run(described("from_dlpack/same-values"), "values").told[0].partition(":")[0] in ("kept", "wrong values")
    assert run(described("DLManagedTensor/deleter-is-called"), "life").told[0].startswith("leak: ")


def test_script_that_is_too_long_is_refused() -> None:
    """What does not fit into a script is told with its length, and not cut."""
    library = described()
    arguments = {"make": "(" + "\n".join("0," for _ in range(70)) + ")"}
    long = Library("long", "\n".join(f"import sys as s{i}" for i in range(61)), "''")
    with pytest.raises(ValueError, match=r"the script of device-tuple has \d+ lines; expected at most 60"):
        script_of(PROBES["device-tuple"], {"make": library.make}, long, "")
    assert "0," in script_of(PROBES["device-tuple"], arguments, library, "")


def test_tightening_changes_nothing() -> None:
    """A script that was made shorter is the same program."""
    shorter = 0
    for text in (NESTED, *(text for _, text in scripts(described()))):
        tight = script._tighter(text)
        assert ast.dump(ast.parse(tight)) == ast.dump(ast.parse(text))
        assert max(map(len, tight.split("\n"))) <= max(120, *map(len, text.split("\n")))
        shorter += text.count("\n") - tight.count("\n")
    assert shorter > 0
