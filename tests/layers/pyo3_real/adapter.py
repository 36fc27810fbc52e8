"""Perform vectors of PyO3 on PyO3 itself: each in a process of its own, step by step.

Run as ``adapter.py LIBRARY VECTORS``, where the library is what ``build.py`` made and the vectors are a JSON list;
a line of JSON for each says what was seen of its steps and how the process ended. It needs CPython 3.11 or newer, the
adapter of the capsule API and the C compiler that this one needs.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[3]
# By operation: the arguments in the order of the function in C, those that may be left out, and what is shown.
OPERATIONS: dict[str, tuple[str, str, str]] = {
    "new_with_value": ("value name", "align traits", "capsule"),
    "new": ("value name", "align traits", "capsule"),
    "new_with_value_and_destructor": ("value name destructor", "align borrows traits", "capsule"),
    "new_with_destructor": ("value name destructor", "align borrows traits", "capsule"),
    "new_with_pointer": ("pointer name", "", "capsule"),
    "new_with_pointer_and_destructor": ("pointer name destructor", "", "capsule"),
    "cast": ("op", "", "cast"),
    "import": ("name", "align", "pointer"),
    "import_pointer": ("name", "", "pointer"),
    "set_context": ("capsule context", "", "status"),
    "context": ("capsule", "", "pointer"),
    "pointer_checked": ("capsule name", "", "pointer"),
    "is_valid_checked": ("capsule name", "", "status"),
    "name": ("capsule", "", "text"),
    "as_cstr": ("name", "unsafe", "text"),
    "pointer": ("capsule", "", "pointer"),
    "reference": ("capsule size", "", "bytes"),
    "is_valid": ("capsule", "", "status"),
    "drop": ("op", "attached", "silence"),
    "attach": ("", "", "silence"),
}


def _load() -> Any:
    """Return the adapter of the capsule API as a module of our own, so that its tables may be added to."""
    spec = importlib.util.spec_from_file_location("capsules", ROOT / "specs" / "adapters" / "ctypes_adapter.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CAPSULES: Any = _load()
MALLOC = ctypes.CDLL(None).malloc
MALLOC.argtypes, MALLOC.restype = [ctypes.c_size_t], ctypes.c_size_t


class Spec(ctypes.Structure):
    """A value and what belongs to it, as the library takes it."""

    _fields_ = (
        ("data", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("align", ctypes.c_size_t),
        ("name", ctypes.c_void_p),
        ("number", ctypes.c_size_t),
        ("panics", ctypes.c_size_t),
    )


class RustAdapter(CAPSULES.Adapter):  # type: ignore[misc]
    """The interpreter that runs this, with a Rust extension in it."""

    def __init__(self, library: str) -> None:
        self.rust = ctypes.PyDLL(library)
        word = ctypes.c_size_t
        self.called = ctypes.PYFUNCTYPE(None, word, ctypes.c_void_p, word, ctypes.c_void_p, ctypes.POINTER(word))(
            self._closure
        )
        self.rust.pyo3_setup(self.called)
        self.rust.pyo3_error.restype = word
        super().__init__()

    def prototype(self, name: str, restype: Any, count: int) -> Any:
        """Bind a C function of words by name, of the library where it is one of PyO3."""
        if not name.startswith("PyO3."):
            return super().prototype(name, restype, count)
        own = name.replace("PyO3.", "pyo3_")
        count = 1 if name in PACKED else count
        return ctypes.PYFUNCTYPE(restype, *[ctypes.c_void_p] * count)((own, self.rust))

    def _closure(self, number: int, data: int, size: int, context: int | None, pending: Any) -> None:
        assert self.session is not None
        self.session.closure(number, ctypes.string_at(data, size), context or 0, tuple(pending[:3]))


class RustSession(CAPSULES.Session):  # type: ignore[misc]
    """One run of one vector."""

    def __init__(self, adapter: Any, vector: Json) -> None:
        self.closures: list[tuple[str, list[str]]] = []
        self.specs: list[Spec] = []
        super().__init__(adapter, vector)

    def closure(self, number: int, value: bytes, context: int, pending: tuple[int, int, int]) -> None:
        """Note that a closure was called, and do what it does to the context."""
        name, traits = self.closures[number]
        args = [",".join(map(str, value)) or "()", self._token(context) if context else "0"]
        self.events.append({"call": name, "args": args, "before": self.describe(self._normal(pending))})
        if "drops-context" in traits:
            self.blocks.discard(context)

    def packed(self, args: Json) -> list[int]:
        """Return the one word that a constructor takes: the address of all that it needs."""
        traits = args["traits"] or []
        declared = args.get("destructor")
        number = len(self.closures)
        if declared is not None:
            self.closures.append((declared["function"], traits))
        data = CAPSULES.bytes_of(args["value"])
        name = self.value(args["name"], "name")
        spec = Spec(data, len(data), args["align"] or 1, name, number, "panics" in traits)
        self.specs.append(spec)
        return [ctypes.addressof(spec)]

    def imported(self, args: Json) -> list[int]:
        """Return the words of an import."""
        return [self.value(args["name"], "name"), args["align"] or 1]

    def dropped(self, args: Json) -> list[int]:
        """Return the words of a drop; the vector's reference goes."""
        word = self.value(args["op"], "op")
        self.owned[word] -= 1
        return [word, 1 if args["attached"] is None else args["attached"]]

    def _malloc(self, args: Json, bind: str | None) -> Any:
        # Of the allocator that Rust frees to: a destructor may be handed a block of the vector's.
        size = self.value(args["size"], "size")
        start = MALLOC(size)
        self.ends[start] = start + size
        self.blocks.add(start)
        return self._show_made(start, bind)

    def _block(self, address: int, size: int) -> int:
        # What the library has allocated is known to it alone.
        return address if self._buffer(address) is None else int(super()._block(address, size))

    def _failed(self) -> Json | None:
        """Return the exception that the last call returned, as a step shows it; None where it returned none."""
        address = self.adapter.rust.pyo3_error()
        if not address:
            return None
        error = CAPSULES.object_at(address)
        self._release(address)
        return {"fields": {"Err": [type(error).__name__, str(error)]}}

    def _show_capsule(self, word: int, bind: str | None, first: int) -> Any:
        return self._failed() or self._show_new(word, bind, first)

    def _show_pointer(self, word: int, bind: str | None, first: int) -> Any:
        return self._failed() or self._show_address(word, bind, first)

    def _show_cast(self, word: int, bind: str | None, first: int) -> Any:
        failed = self._failed()
        return {"fields": {"Err": failed["fields"]["Err"][:1]}} if failed else self._show_address(word, bind, first)

    def _show_status(self, word: int, bind: str | None, first: int) -> Any:
        return self._failed() or word

    def _show_text(self, word: int, bind: str | None, first: int) -> Any:
        return self._failed() or self._show_string(word, bind, first)

    def _show_bytes(self, word: int, bind: str | None, first: int) -> Any:
        return {"hex": ctypes.string_at(word, 4).hex()}

    def _show_silence(self, word: int, bind: str | None, first: int) -> Any:
        return None


PACKED = {f"PyO3.{name}" for name, (args, _, _) in OPERATIONS.items() if args.startswith("value")}
for _name, (_args, _optional, _shown) in OPERATIONS.items():
    CAPSULES.OPERATIONS[f"PyO3.{_name}"] = (f"{_args} {_optional}".strip(), f"PyO3.{_shown}", "")
    CAPSULES.SHOW[f"PyO3.{_shown}"] = getattr(RustSession, f"_show_{_shown}")
CAPSULES.PREPARED.update(dict.fromkeys(PACKED, RustSession.packed))
CAPSULES.PREPARED.update({"PyO3.import": RustSession.imported, "PyO3.drop": RustSession.dropped})
CAPSULES.HANDLERS["malloc"] = RustSession._malloc
CAPSULES.Adapter, CAPSULES.Session = RustAdapter, RustSession


def complete(step: Json) -> Json:
    """Return a step with what it leaves out said."""
    args, optional, _ = OPERATIONS.get(step["op"].removeprefix("PyO3."), ("", "", ""))
    if not step["op"].startswith("PyO3.") or not optional:
        return step
    return step | {"args": dict.fromkeys(f"{args} {optional}".split()) | step.get("args", {})}


def perform(adapter: RustAdapter, vector: Json) -> None:
    """Perform a vector, and print what is seen of each step as soon as it is; nothing is put back afterwards."""
    session = RustSession(adapter, vector)
    for index, step in enumerate(vector["steps"]):
        if step["op"] == "PyO3.version":
            seen: Json = {"error": None, "indicator": "clear", "events": []}
        else:
            seen = session.step(complete(step), str(index))
            if step["op"] in ("PyO3.drop", "PyO3.attach"):
                seen.pop("return", None)
        os.write(1, json.dumps(seen).encode() + b"\n")


def apart(adapter: RustAdapter, vector: Json) -> Json:
    """Perform a vector in a process of its own; return what it said, and the signal or the fault that ended it."""
    inner, outer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(outer, 1)
        try:
            perform(adapter, vector)
        except Exception as error:
            os.write(1, json.dumps({"fault": f"{type(error).__name__}: {error}"}).encode() + b"\n")
        os._exit(0)
    os.close(outer)
    with os.fdopen(inner, "rb") as output:
        lines = [json.loads(line) for line in output]
    _, status = os.waitpid(child, 0)
    fault = lines.pop()["fault"] if lines and "fault" in lines[-1] else None
    return {"id": vector["id"], "steps": lines, "signal": os.WTERMSIG(status), "fault": fault}


def main() -> None:
    """Perform all vectors that were handed over."""
    library, vectors = sys.argv[1:]
    adapter = RustAdapter(library)
    for vector in json.loads(Path(vectors).read_text("utf-8")):
        print(json.dumps(apart(adapter, vector)), flush=True)


if __name__ == "__main__":
    main()
