"""The ways in which a program can be simpler, each as a change that may be tried."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["Change", "simpler"]

Vector = dict[str, Any]
Path = tuple[str | int, ...]
# Returns the changed vector, or None where it has no place for the change.
Change = Callable[[Mapping[str, Any]], Vector | None]

_GONE = object()
_NULLABLE = frozenset({"destructor", "context", "name", "value", "traverse_func", "clear_func"})
_NEUTRAL: dict[str, Any] = {"no_block": 0, "protocol": 0, "opid": "=="}
_EXCEPTION = {"type": "KeyError"}
_SHORT = tuple("nmkjhgfe")
_MOST_NAMES = 64
_MOST_EARLIER = 4


def simpler(vector: Mapping[str, Any]) -> Iterator[Change]:
    """Yield changes that make a program simpler: functions and modules first, then what is inside, then names.

    Each is to be tried on the simplest program so far; it says itself where it does not fit any more.
    """
    yield lambda now: _without_unused(now)
    for kind in ("functions", "modules"):
        if vector.get(kind):
            yield _change((kind,), vector[kind], _GONE)
        for name in reversed(list(vector.get(kind, {}))):
            yield _without_function(name) if kind == "functions" else _change((kind, name), vector[kind][name], _GONE)
    for name, function in vector.get("functions", {}).items():
        if function.get("steps"):
            yield _change(("functions", name, "steps"), function["steps"], [])
        for index in range(len(function.get("steps", ())) - 1, -1, -1):
            yield _without_inner_step(name, index)
        yield from _keys(("functions", name), function, ("max_calls", "visit"))
    yield from _modules(vector)
    for path, step in _steps(vector):
        yield from _of_step(path, step)
    yield from _strings(vector)
    yield from _joined(vector)
    yield from _renamed(vector)
    yield _numbered


def _at(vector: Any, path: Path) -> Any:
    for part in path:
        if isinstance(vector, Mapping):
            if part not in vector:
                return _GONE
        elif not (isinstance(vector, list) and isinstance(part, int) and part < len(vector)):
            return _GONE
        vector = vector[part]
    return vector


def _with(value: Any, path: Path, new: Any) -> Any:
    """Return a copy with another value at a path, or without what is there."""
    if not path:
        return new
    head, *rest = path
    copy: Any = dict(value) if isinstance(value, Mapping) else list(value)
    if rest or new is not _GONE:
        copy[head] = _with(value[head], tuple(rest), new)
    else:
        del copy[head]
    return copy


def _change(path: Path, old: Any, new: Any) -> Change:
    def change(now: Mapping[str, Any]) -> Vector | None:
        return _with(now, path, new) if _at(now, path) == old else None

    return change


def _keys(path: Path, described: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[Change]:
    for name in names:
        if name in described:
            yield _change((*path, name), described[name], _GONE)


def _everywhere(value: Any, replaced: Callable[[Any], Any]) -> Any:
    """Return a copy in which each object that ``replaced`` gives another for is that."""
    new = replaced(value)
    if new is not value:
        return new
    if isinstance(value, Mapping):
        return {key: _everywhere(inner, replaced) for key, inner in value.items()}
    return [_everywhere(inner, replaced) for inner in value] if isinstance(value, list) else value


def _without_unused(now: Mapping[str, Any]) -> Vector | None:
    """Leave out the functions that nothing names, and empty tables."""
    used: set[str] = set()

    def note(value: Any) -> Any:
        if isinstance(value, Mapping) and isinstance(value.get("function"), str):
            used.add(value["function"])
        return value

    _everywhere(now, note)
    functions = {name: one for name, one in now.get("functions", {}).items() if name in used}
    changed = {key: value for key, value in now.items() if key not in ("functions", "modules") or value}
    if functions != now.get("functions", {}):
        changed = {**changed, "functions": functions}
        if not functions:
            del changed["functions"]
    return changed if changed != now else None


def _without_function(name: str) -> Change:
    """Put NULL where a function stands, and leave it out."""

    def change(now: Mapping[str, Any]) -> Vector | None:
        if name not in now.get("functions", {}):
            return None
        without = _with(now, ("functions", name), _GONE)
        changed: Vector = _everywhere(without, lambda value: None if value == {"function": name} else value)
        return changed

    return change


def _without_inner_step(name: str, index: int) -> Change:
    def change(now: Mapping[str, Any]) -> Vector | None:
        path = ("functions", name, "steps", index)
        return _with(now, path, _GONE) if _at(now, path) is not _GONE else None

    return change


def _steps(vector: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for index, step in enumerate(vector["steps"]):
        yield ("steps", index), step
    for name, function in vector.get("functions", {}).items():
        for index, step in enumerate(function.get("steps", ())):
            yield ("functions", name, "steps", index), step


def _of_step(path: Path, step: Mapping[str, Any]) -> Iterator[Change]:
    yield from _keys(path, step, ("pending", "leave", "thread", "note"))
    pending = step.get("pending")
    if pending is not None:
        for other in (_EXCEPTION, {"type": pending["type"]}):
            if len(other) < len(pending) or other["type"] < pending["type"]:
                yield _change((*path, "pending"), pending, other)
    if "bind" in step and step["op"] not in ("PyCapsule_New", "string", "malloc"):
        yield from _keys(path, step, ("bind",))
    for name, argument in step.get("args", {}).items():
        for other in _arguments(name, argument):
            yield _change((*path, "args", name), argument, other)


def _arguments(name: str, argument: Any) -> Iterator[Any]:
    """Yield simpler arguments, the simplest first."""
    if name in _NEUTRAL:
        if argument != _NEUTRAL[name]:
            yield _NEUTRAL[name]
        return
    if argument is None or not isinstance(argument, Mapping):
        return
    if name in _NULLABLE or "object" in argument:
        yield None
    if name == "name" and argument != {"cstr": _SHORT[0]}:
        yield {"cstr": _SHORT[0]}
    if name == "context" and "ref" in argument:
        yield {"ptr": "p1"}
    if "ptr" in argument and argument["ptr"] != "p1":
        yield {"ptr": "p1"}
    if "object" in argument and argument["object"] not in ("None", "int"):
        yield {"object": "int"}


def _modules(vector: Mapping[str, Any]) -> Iterator[Change]:
    for name, module in vector.get("modules", {}).items():
        if module is None:
            continue
        path = ("modules", name)
        yield from _keys(path, module, ("loaded", "imports", "removes_itself", "raises", "becomes"))
        for key in ("entry", "becomes"):
            if key in module:
                yield from _value((*path, key), module[key])
        for key in ("attrs", "getattr"):
            yield from _table((*path, key), module.get(key))


def _table(path: Path, table: Mapping[str, Any] | None) -> Iterator[Change]:
    if table is None:
        return
    yield _change(path, table, _GONE)
    for name, value in table.items():
        yield _change((*path, name), value, _GONE)
        yield from _value((*path, name), value)


def _value(path: Path, value: Mapping[str, Any]) -> Iterator[Change]:
    if "capsule" in value:
        for key, argument in value["capsule"].items():
            for other in _arguments(key, argument):
                yield _change((*path, "capsule", key), argument, other)
    for holder in ("class", "instance"):
        if holder in value:
            for key in ("attrs", "class_attrs", "getattr", "raises"):
                table = value[holder].get(key)
                if key != "raises":
                    yield from _table((*path, holder, key), table)
                elif table is not None:
                    yield from _keys((*path, holder), value[holder], ("raises",))
                    yield from _keys((*path, holder, key), table, tuple(table))


def _strings(vector: Mapping[str, Any]) -> Iterator[Change]:
    """Yield changes that put the bytes of a string in the place of what refers to it."""
    for step in vector["steps"]:
        if step["op"] == "string" and "bind" in step:
            yield _literal(step["bind"], step["args"]["bytes"])


def _literal(token: str, raw: Any) -> Change:
    def change(now: Mapping[str, Any]) -> Vector | None:
        changed: Vector = _everywhere(now, lambda value: raw if value == {"ref": token} else value)
        return changed if changed != now else None

    return change


def _joined(vector: Mapping[str, Any]) -> Iterator[Change]:
    """Yield changes that use what was made first where something made later is used."""
    tokens: list[str] = []
    for index, step in enumerate(vector["steps"]):
        for name, argument in step.get("args", {}).items():
            token = argument.get("ref") if isinstance(argument, Mapping) else None
            if token in tokens[1:]:
                for earlier in tokens[: min(tokens.index(token), _MOST_EARLIER)]:
                    yield _change(("steps", index, "args", name), argument, {**argument, "ref": earlier})
        if step["op"] == "PyCapsule_New" and "bind" in step and step["bind"] not in tokens:
            tokens.append(step["bind"])


def _numbered(now: Mapping[str, Any]) -> Vector | None:
    """Give what the steps bind numbers from 1 on, each letter by itself."""
    new: dict[str, str] = {}
    counts: dict[str, int] = {}
    for step in now["steps"]:
        token = step.get("bind", "")
        if token and token not in new and token.rstrip("0123456789"):
            letter = token.rstrip("0123456789")
            counts[letter] = counts.get(letter, 0) + 1
            new[token] = f"{letter}{counts[letter]}"
    if all(old == token for old, token in new.items()):
        return None

    def replaced(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        changed = dict(value)
        for key in ("ref", "bind"):
            if isinstance(value.get(key), str):
                changed[key] = new.get(value[key], value[key])
        if changed == value:
            return value
        return {key: _everywhere(inner, replaced) for key, inner in changed.items()}

    steps = _everywhere(now["steps"], replaced)
    return {**now, "steps": steps}


def _renamed(vector: Mapping[str, Any]) -> Iterator[Change]:
    """Yield changes that give one name a short text wherever it stands; equal names stay equal."""
    found: dict[str, Any] = {}

    def note(value: Any) -> Any:
        if isinstance(value, Mapping) and value.keys() in ({"cstr"}, {"hex"}):
            found.setdefault(json.dumps(value), value)
        return value

    _everywhere([vector["steps"], vector.get("functions", {}), vector.get("modules", {})], note)
    for old in list(found.values())[:_MOST_NAMES]:
        if old.get("cstr") in (*_SHORT, ""):
            continue
        for short in _SHORT:
            if json.dumps({"cstr": short}) not in found:
                yield _rename(old, {"cstr": short})
                break


def _rename(old: Any, new: Any) -> Change:
    def change(now: Mapping[str, Any]) -> Vector | None:
        taken = False

        def replaced(value: Any) -> Any:
            nonlocal taken
            if value == new:
                taken = True
            return new if value == old else value

        changed: Vector = _everywhere(now, replaced)
        return changed if changed != now and not taken else None

    return change
