"""Set up an interpreter to run under a checker: the program, its environment, and the adapter that is made for it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from capsule_model.conform.interpreters import CannotRun, compiled, output_of
from capsule_model.locate import specs
from capsule_model.sanitize.reports import Tool

__all__ = ["Setup", "prepare"]

_SECONDS = 300.0
_ABOUT = """
import json, sys, sysconfig
get = sysconfig.get_config_var
print(json.dumps({
    "program": sys.executable,
    "instrumented": "-fsanitize=address" in " ".join(str(get(key)) for key in ("CFLAGS", "PY_CFLAGS", "CONFIG_ARGS"))
    or "--with-address-sanitizer" in str(get("CONFIG_ARGS")),
    "cc": get("CC"), "suffix": get("EXT_SUFFIX"), "include": sysconfig.get_path("include"),
}))
"""
_MODULE = "capsule_adapter"
_FLAGS: Mapping[Tool, tuple[str, ...]] = {
    "asan": ("-g", "-fno-omit-frame-pointer", "-fsanitize=address"),
    # Without these headers the adapter cannot forbid anything.
    "valgrind": ("-g", "-include", "valgrind/memcheck.h"),
}
# Room around a block that is as wide as in the model. AddressSanitizer ends a process with its first report. Valgrind
# does not: it may have reported something while the interpreter started, which counts for no vector.
_ASAN_OPTIONS = "halt_on_error=1:exitcode=9:detect_leaks=1:redzone=64:handle_abort=0:allocator_may_return_null=1"
_VALGRIND_OPTIONS = (
    "-q --redzone-size=64 --freelist-vol=100000000 --num-callers=16 --error-limit=no "
    "--leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=none"
).split()
# The C library's string functions for such processors read past the ends of strings, a vector register at a time.
_NO_WIDE_READS = "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-AVX512F,-AVX512VL,-AVX512BW"


@dataclass(frozen=True, slots=True)
class Setup:
    """How to start the script that performs vectors: `log` is where the checker writes, None for standard error.

    `instrumented` says that the interpreter itself was built for AddressSanitizer, `version` names the checker.
    """

    tool: Tool
    command: tuple[str, ...]
    environment: Mapping[str, str]
    version: str
    instrumented: bool
    folder: Path

    def started_in(self, scratch: Path) -> tuple[list[str], Path | None]:
        """Return the command for one process, and the file that the checker writes to."""
        if self.tool == "asan":
            return list(self.command), None
        log = scratch / "log"
        return [self.command[0], f"--log-file={log}", *self.command[1:]], log


def prepare(interpreter: Path, tool: Tool, folder: Path) -> Setup:
    """Make the adapter for an interpreter in `folder` and return how to run it under a checker; raise `CannotRun`."""
    try:
        about = json.loads(output_of([str(interpreter), "-c", _ABOUT], _SECONDS, "cannot be started"))
    except ValueError:
        raise CannotRun("does not behave like python: -c printed no JSON; expected what was to be printed") from None
    adapter = _adapter(interpreter, about, tool, folder)
    script = folder / "served.py"
    script.write_text(Path(__file__).with_name("served.py").read_text("utf-8"), "utf-8")
    if adapter.parent.resolve() != folder.resolve():
        raise CannotRun(f"{adapter.name} was made in another folder than it was asked for")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ASAN_", "LSAN_", "LD_"))}
    environment = kept | {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    words = [about["program"], "-s", "-S", str(script)]
    if tool == "valgrind":
        valgrind = shutil.which("valgrind")
        if valgrind is None:
            raise CannotRun("needs valgrind; expected it among the programs")
        environment["GLIBC_TUNABLES"] = _NO_WIDE_READS
        version = output_of([valgrind, "--version"], _SECONDS, "valgrind cannot be started").strip()
        return Setup(tool, (valgrind, *_VALGRIND_OPTIONS, *words), environment, version, False, folder)
    instrumented = bool(about["instrumented"])
    environment["ASAN_OPTIONS"] = _ASAN_OPTIONS
    compiler = _compiler(about)
    if not instrumented:
        asked = output_of([*compiler, "-print-file-name=libasan.so"], _SECONDS, "the compiler cannot be started")
        library = Path(asked.strip())
        if not library.is_absolute() or not library.exists():
            raise CannotRun("was not built for AddressSanitizer, and the compiler has no libasan; expected either")
        environment["LD_PRELOAD"] = str(library)
    version = output_of([*compiler, "--version"], _SECONDS, "the compiler cannot be started").splitlines()[0]
    return Setup(tool, tuple(words), environment, f"AddressSanitizer of {version}", instrumented, folder)


def _adapter(interpreter: Path, about: Mapping[str, str], tool: Tool, folder: Path) -> Path:
    source = specs() / "adapters" / "capsule_adapter.c"
    beside = interpreter.with_name(f"{interpreter.name}-cc")
    if os.access(beside, os.X_OK) and beside.is_file():
        return compiled(beside.absolute(), _MODULE, source, folder, *_FLAGS[tool])
    made = folder / f"{_MODULE}{about['suffix']}"
    command = [*_compiler(about), "-shared", "-fPIC", "-O1", f"-I{about['include']}", *_FLAGS[tool]]
    output_of([*command, str(source), "-o", str(made)], _SECONDS, f"{source.name} does not compile")
    return made


def _compiler(about: Mapping[str, str]) -> list[str]:
    """Return the command of a C compiler; raise `CannotRun`."""
    asked = (os.environ.get("CC"), about["cc"], "cc")
    commands = (shlex.split(command) for command in asked if command)
    found = next((words for words in commands if shutil.which(words[0])), None)
    if found is None:
        raise CannotRun("needs a C compiler for the adapter; expected $CC or cc")
    return found
