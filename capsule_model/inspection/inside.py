"""Look at the capsules of the interpreter that runs this file; it needs CPython 3.9 or newer and nothing else.

A request comes in as one line of JSON, answers go out as lines of JSON, on a handle that no module gets to print to.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import platform
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from runpy import run_path
from types import ModuleType, SimpleNamespace
from typing import Any

Json = dict[str, Any]
# A module or an attribute by name, or an item by key.
Step = tuple[str, Any]

WORD = ctypes.sizeof(ctypes.c_void_p)
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
MOST_PATHS, MOST_TEXT = 50, 500
# Read past whatever a class of modules or a metaclass makes of the attribute.
NAMESPACE_OF_MODULE: Any = vars(ModuleType)["__dict__"]
NAMESPACE_OF_CLASS: Any = vars(type)["__dict__"]
BARE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]*")


def capsule_functions() -> Any:
    """Return the capsule functions of this interpreter by their C names, None where ctypes does not reach them."""
    api, word = getattr(ctypes, "pythonapi", None), ctypes.c_void_p
    if api is None or sys.implementation.name != "cpython":
        return None
    # Prototypes of their own: whoever else uses ctypes here sets what it likes on the shared ones.
    return SimpleNamespace(
        **{
            name: ctypes.PYFUNCTYPE(result, *arguments)((name, api))
            for name, result, *arguments in (
                ("PyCapsule_New", ctypes.py_object, word, word, word),
                ("PyCapsule_IsValid", ctypes.c_int, ctypes.py_object, word),
                ("PyCapsule_GetPointer", word, ctypes.py_object, word),
                ("PyCapsule_GetName", word, ctypes.py_object),
                ("PyCapsule_GetContext", word, ctypes.py_object),
                ("PyCapsule_GetDestructor", word, ctypes.py_object),
                ("PyCapsule_Import", word, ctypes.c_char_p, ctypes.c_int),
            )
        }
    )


API = capsule_functions()
CAPSULE: Any = type(API.PyCapsule_New(1, None, None)) if API else None


def profile_here() -> str:
    """Name the profile of this interpreter."""
    name = "{}-{}.{}".format(sys.implementation.name, *sys.version_info)
    name += "-free-threaded" if FREE_THREADED else ""
    name += "-debug" if hasattr(sys, "gettotalrefcount") else ""
    return name + ("-32" if WORD == 4 else "") + ("-be" if sys.byteorder == "big" else "")


def field_names() -> list[str]:
    """Name the words of a capsule's struct in this build, from offset 0."""
    header = object.__basicsize__ // WORD
    names = ["ob_tid", "ob_flags", "ob_ref_shared"] if FREE_THREADED else ["ob_refcnt"]
    names = [f"ob_{number}" for number in range(header - 1 - len(names))] + names + ["ob_type"]
    names += ["pointer", "name", "context", "destructor", "traverse_func", "clear_func"]
    return names[: CAPSULE.__basicsize__ // WORD]


def words_of(address: int) -> dict[str, int]:
    """Read the struct of the capsule at an address, word by word."""
    names = field_names()
    words = (ctypes.c_size_t * len(names)).from_address(address)
    return {name: words[number] for number, name in enumerate(names)}


def references(holder: list[Any]) -> int:
    """Count the references to the one object in a list, that of the list among them."""
    return sys.getrefcount(holder[0])


def text_of(error: BaseException) -> Json:
    """Say what was raised: the class and the text, as far as it can be asked for."""
    try:
        text = str(error)
    except BaseException as worse:
        text = f"a text that raises {type(worse).__name__}"
    return {"type": type(error).__name__, "text": text[:MOST_TEXT]}


def hex_of_name(capsule: Any) -> str | None:
    """Return the bytes of a capsule's name, None for NULL."""
    at = words_of(id(capsule))["name"]
    return ctypes.string_at(at).hex() if at else None


class DlInfo(ctypes.Structure):
    """What ``dladdr`` tells of an address."""

    _fields_ = [
        ("fname", ctypes.c_char_p),
        ("fbase", ctypes.c_void_p),
        ("sname", ctypes.c_char_p),
        ("saddr", ctypes.c_void_p),
    ]


class Places:
    """Where addresses of this process lie, as far as the platform tells: maps of its memory, and ``dladdr``."""

    def __init__(self) -> None:
        self.maps: list[tuple[int, int, int, str]] = []
        try:
            with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
                for line in file:
                    fields = line.split(None, 5)
                    low, high = (int(end, 16) for end in fields[0].split("-"))
                    self.maps.append((low, high, int(fields[2], 16), fields[5].strip() if len(fields) > 5 else ""))
        except (OSError, ValueError):
            self.maps = []
        self.dladdr: Any = None
        try:
            self.dladdr = ctypes.CDLL(None).dladdr
            self.dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(DlInfo)]
        except (OSError, AttributeError, TypeError):
            return

    def _mapped(self, address: int) -> tuple[int, int, int, str] | None:
        return next((one for one in self.maps if one[0] <= address < one[1]), None)

    def of(self, address: int | None) -> Json | None:
        """Describe an address, None for NULL: its region and, in a library, its file, base and symbol."""
        if not address:
            return None
        place: Json = {"address": address, "region": "unknown", "file": None, "base": None, "symbol": None, "at": None}
        mapped = self._mapped(address)
        if self.maps:
            place["region"] = "unmapped" if mapped is None else "memory"
        info = DlInfo()
        if self.dladdr is not None and self.dladdr(address, ctypes.byref(info)) and info.fbase:
            place.update(region="library", file=os.fsdecode(info.fname or b""), base=info.fbase)
            if info.sname:
                place.update(symbol=info.sname.decode(errors="replace"), at=info.saddr)
            mapped = self._mapped(info.fbase)
            if mapped is not None and mapped[3].startswith("/"):
                place["file"] = mapped[3]
        elif mapped is not None and mapped[3].startswith("/"):
            bases = [low for low, _, offset, file in self.maps if file == mapped[3] and offset == 0]
            if bases:
                place.update(region="library", file=mapped[3], base=bases[0])
        return place


def facts_of(holder: list[Any], places: Places) -> Json:
    """Tell all that can be seen of the capsule in a list that holds it alone."""
    # An object that nothing else knows shows what the list and counting add.
    count = references(holder) - references([object()])
    capsule = holder[0]
    words = words_of(id(capsule))
    seen, valid = {key: words[key] for key in ("pointer", "name", "context", "destructor")}, 0
    # A capsule without a pointer answers nothing; its words can be read all the same.
    if words["pointer"]:
        name = API.PyCapsule_GetName(capsule)
        valid = API.PyCapsule_IsValid(capsule, name)
        seen = {
            "pointer": API.PyCapsule_GetPointer(capsule, name) or 0,
            "name": name or 0,
            "context": API.PyCapsule_GetContext(capsule) or 0,
            "destructor": API.PyCapsule_GetDestructor(capsule) or 0,
        }
    return {
        "address": id(capsule),
        "repr": repr(capsule)[:MOST_TEXT],
        "whole": len(repr(capsule)) <= MOST_TEXT,
        "name": hex_of_name(capsule),
        "valid": valid,
        "seen": seen,
        "words": words,
        "places": {
            key: places.of(words.get(key))
            for key in ("pointer", "name", "context", "destructor", "traverse_func", "clear_func")
        },
        "tracked": gc.is_tracked(capsule),
        "references": count,
    }


def ask_import(name: bytes) -> Json:
    """Call ``PyCapsule_Import`` with a name, and walk the same way again to see what it met."""
    asked: Json = {"name": name.hex(), "pointer": 0, "error": None}
    try:
        asked["pointer"] = API.PyCapsule_Import(name, 0) or 0
    except BaseException as error:
        asked["error"] = text_of(error)
    asked["walk"] = walk(name)
    return asked


def walk(name: bytes) -> Json:
    """Follow a path as ``PyCapsule_Import`` does: import the first component, then look up the others."""
    first, *rest = name.split(b".")
    met: Json = {"holders": [], "error": None, "end": None}
    try:
        found: Any = importlib.import_module(first.decode())
        for component in rest:
            met["holders"].append(holder_of(found))
            found = getattr(found, component.decode())
    except BaseException as error:
        met["error"] = text_of(error)
        return met
    met["end"] = {"type": type(found).__name__, "capsule": type(found) is CAPSULE}
    if type(found) is CAPSULE:
        met["end"].update(
            address=id(found),
            name=hex_of_name(found),
            pointer=words_of(id(found))["pointer"],
        )
    return met


def holder_of(thing: Any) -> Json:
    """Tell what an attribute is looked up on: a module, a class or another object, and what errors call it."""
    kind = "type" if isinstance(thing, type) else "module" if type(thing) is ModuleType else "object"
    named: Any = type(thing) if kind == "object" else thing
    plain = "__getattr__" not in vars(named) if kind == "module" else type(thing) is type
    return {"kind": kind, "plain": plain, "name": str(named.__name__)[:MOST_TEXT]}


class Missing(Exception):
    """Something on the way to a capsule is not there, or is no capsule; the text is one line."""


def find(steps: list[Step]) -> list[Any]:
    """Return what stands at the end of the steps, in a list that holds it alone; ``Missing`` where it is no capsule.

    An attribute that a module does not have is imported as a submodule.
    """
    holder: list[Any] = []
    path = before = module = ""
    for kind, key in steps:
        try:
            if kind == "module":
                holder[:] = [importlib.import_module(key)]
                path = module = key
                continue
            before, path = path, shown_path(path, (kind, key))
            if kind == "item":
                holder[:] = [holder[0][key]]
                module = ""
                continue
            try:
                holder[:] = [getattr(holder[0], key)]
            except AttributeError:
                if module != before:
                    raise
                importlib.import_module(path)
                holder[:] = [getattr(holder[0], key)]
            module = path if isinstance(holder[0], ModuleType) else ""
        except BaseException as error:
            raise Missing(why_missing(kind, key, before, error)) from None
    if type(holder[0]) is not CAPSULE:
        raise Missing(f"an object of type {type(holder[0]).__name__}; expected a capsule")
    return holder


def why_missing(kind: str, key: Any, before: str, error: BaseException) -> str:
    """Say in one line what is wrong with a step from ``before``."""
    raised = text_of(error)
    told = f"{raised['type']}: {raised['text']}"
    absent = isinstance(error, ModuleNotFoundError) and error.name in (key, f"{before}.{key}")
    if kind == "module":
        return f"no module {key}; expected one that can be imported" if absent else f"module {key} raises {told}"
    if kind == "item":
        no_key = isinstance(error, LookupError)
        return f"no item {key!r} in {before}; expected one that is there" if no_key else f"{before} raises {told}"
    if absent or isinstance(error, AttributeError):
        return f"no attribute and no module {key} of {before}; expected one that is there"
    return f"{before}.{key} raises {told}"


def shown_path(path: str, step: Step) -> str:
    """Return a path that is one step longer."""
    kind, key = step
    if kind == "attribute":
        return f"{path}.{key}"
    bare = isinstance(key, str) and BARE_KEY.fullmatch(key)
    return f"{path}[{key if bare else json.dumps(key)}]"


def capsules_here() -> dict[int, tuple[list[Any], set[str]]]:
    """Find the capsules that modules, their classes and their dicts hold: each in a list of its own, with all paths.

    Nothing is called to find them: no attribute is looked up, only namespaces are read.
    """
    found: dict[int, tuple[list[Any], set[str]]] = {}
    modules: dict[str, Any] = {**sys.modules}
    for name, module in sorted(modules.items()):
        if isinstance(module, ModuleType) and name not in ("__main__", "__mp_main__"):
            for path, holder in inside_module(name, module):
                paths = found.setdefault(id(holder[0]), (holder, set()))[1]
                paths.add(path)
    return found


def inside_module(name: str, module: ModuleType) -> Iterator[tuple[str, list[Any]]]:
    """Yield the capsules of one module, with the path of each."""
    namespace: Any = NAMESPACE_OF_MODULE.__get__(module)
    yield from in_mapping(name, namespace)
    for key, value in list(namespace.items()):
        if key == "__builtins__" or not isinstance(key, str):
            continue
        path = attribute_path(name, key)
        if type(value) is dict and value is not sys.modules:
            yield from in_items(path, value)
        elif isinstance(value, type):
            of_class: Any = NAMESPACE_OF_CLASS.__get__(value)
            yield from in_mapping(path, of_class)
            for inner, held in list(of_class.items()):
                if type(held) is dict and isinstance(inner, str):
                    yield from in_items(attribute_path(path, inner), held)


def attribute_path(path: str, key: str) -> str:
    """Return the path of an attribute, through ``__dict__`` where its name is no identifier."""
    if key.isidentifier():
        return shown_path(path, ("attribute", key))
    return shown_path(f"{path}.__dict__", ("item", key))


def in_mapping(path: str, mapping: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the capsules among attributes."""
    for key in [key for key, value in list(mapping.items()) if type(value) is CAPSULE and isinstance(key, str)]:
        yield attribute_path(path, key), [mapping[key]]


def in_items(path: str, mapping: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the capsules among the items of a dict, where the key can be written down."""
    for key in [key for key, value in list(mapping.items()) if type(value) is CAPSULE]:
        if isinstance(key, (str, int)) and not isinstance(key, bool):
            yield shown_path(path, ("item", key)), [mapping[key]]


def unreached(found: dict[int, tuple[list[Any], set[str]]]) -> list[Json]:
    """Count the capsules that tracked objects hold and no path leads to, by name and by the type of the holder."""
    counts: dict[tuple[str, str], set[int]] = {}
    lists = {id(holder) for holder, _ in found.values()}
    for thing in gc.get_objects():
        if id(thing) in lists:
            continue
        for held in gc.get_referents(thing):
            if type(held) is CAPSULE and id(held) not in found:
                name = bytes.fromhex(hex_of_name(held) or "").decode(errors="backslashreplace")
                counts.setdefault((type(thing).__name__, name[:MOST_TEXT]), set()).add(id(held))
    return [{"holder": holder, "name": name, "count": len(ids)} for (holder, name), ids in sorted(counts.items())]


def answer(request: Json, tell: Callable[[Json], None]) -> None:
    """Do what is asked, and tell what was seen."""
    if request["do"] == "modules":
        tell(run_path(request["file"])["modules_here"](request["everything"]))
    elif request["do"] == "import":
        tell({"asked": ask_import(bytes.fromhex(request["name"]))})
    elif request["do"] == "look":
        # Nothing is imported yet for it: this is what another extension meets that has just been started.
        try:
            holder = find([(kind, key) for kind, key in request["steps"]])
        except Missing as missing:
            tell({"missing": str(missing)[: 2 * MOST_TEXT]})
            return
        tell({"capsule": with_imports(facts_of(holder, Places()), {request["path"]})})
    else:
        scan(request["modules"], tell)


def with_imports(facts: Json, paths: set[str]) -> Json:
    """Add to the facts of a capsule its paths, and what ``PyCapsule_Import`` makes of them and of its own name."""
    shortest = sorted(paths, key=lambda path: (len(path), path))[:MOST_PATHS]
    names = {path.encode() for path in shortest if is_path(path)}
    if facts["name"] is not None and is_path(bytes.fromhex(facts["name"]).decode(errors="replace")):
        names.add(bytes.fromhex(facts["name"]))
    return {
        **facts,
        "paths": shortest,
        "more": len(paths) - len(shortest),
        "asked": [ask_import(n) for n in sorted(names)],
    }


def is_path(name: str) -> bool:
    """Tell whether a name is a dotted path: at least two identifiers with dots between them."""
    return name.count(".") > 0 and all(part.isidentifier() for part in name.split("."))


def scan(modules: list[str], tell: Callable[[Json], None]) -> None:
    """Import modules one by one, say so before each, and tell all capsules that are there then."""
    for name in modules:
        tell({"importing": name})
        try:
            importlib.import_module(name)
        except BaseException as error:
            tell({"failed": name, "why": text_of(error)})
    tell({"importing": ""})
    found = capsules_here()
    places = Places()
    facts = [(facts_of(holder, places), paths) for holder, paths in found.values()]
    left = unreached(found)
    for one, paths in facts:
        tell({"capsule": with_imports(one, paths)})
    tell({"done": True, "unreached": left})


def main() -> None:
    """Answer the request on standard input; modules that print, read or fork have no part in it."""
    request = json.loads(sys.stdin.readline())
    out, owner = os.dup(1), os.getpid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nowhere, handle)

    def tell(message: Json) -> None:
        if os.getpid() != owner:
            os._exit(0)
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(out, data) :]

    tell(
        {
            "python": platform.python_version(),
            "implementation": sys.implementation.name,
            "profile": profile_here(),
            "capsules": API is not None,
        }
    )
    if API is not None:
        answer(request, tell)
    # What modules left behind, threads and functions that run at exit, is of no interest.
    if sys.platform != "emscripten":
        os._exit(0)


if __name__ == "__main__":
    main()
