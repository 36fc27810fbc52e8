"""Put steps and observations into words: calls as C, values by their tokens, errors by type and text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsule_model.trace.contract import operations
from capsule_model.trace.returns import MISSING
from capsule_model.trace.wording import clean, shown

__all__ = [
    "argument_text",
    "call_text",
    "error_text",
    "event_text",
    "in_words",
    "indicator_text",
    "of_exception",
    "step_at",
    "value_text",
]


def step_at(vector: Mapping[str, Any], path: str) -> Mapping[str, Any] | None:
    """Return the step of `vector` at the run-time `path` (`3`, `3/d1.1/0`), or None where it has none."""
    parts = path.split("/")
    steps: Any = vector["steps"]
    if len(parts) > 1:
        steps = vector.get("functions", {}).get(parts[-2].rpartition(".")[0], {}).get("steps", [])
    if not parts[-1].isdigit() or int(parts[-1]) >= len(steps):
        return None
    found: Mapping[str, Any] = steps[int(parts[-1])]
    return found


def call_text(step: Mapping[str, Any]) -> str:
    """Return the call that `step` makes, written as C: `c = PyCapsule_New(p1, "mod.attr", d1)`."""
    name = step["op"]
    given = step.get("args", {})
    operation = operations().get(name)
    order = operation.args if operation else tuple(given)
    optional = operation.optional if operation else frozenset[str]()
    arguments = ", ".join(
        f"{arg}={_item_text(given[arg])}" if arg in optional else argument_text(given[arg])
        for arg in order
        if arg in given
    )
    bound = f"{step['bind']} = " if "bind" in step else ""
    return f"{bound}{name}({arguments})"


def argument_text(argument: Any) -> str:
    """Return an argument of a step as it would be written in C."""
    match argument:
        case None:
            return "NULL"
        case {"cstr": str(text)}:
            return _quoted(text)
        case {"hex": str(digits)}:
            return '"' + "".join(f"\\x{digits[i : i + 2]}" for i in range(0, min(len(digits), 80), 2)) + '"'
        case {"ref": token, "offset": int(offset)} if offset:
            return f"{clean(str(token), 80)} {'+' if offset > 0 else '-'} {abs(offset)}"
        case {"module": name}:
            return f"sys.modules[{_quoted(str(name))}]"
        case {"arg": _}:
            return "self"
        case list():
            return clean(f"[{', '.join(map(_item_text, argument))}]", 80)
        case {"object": kind} if kind not in ("None", "PyCapsule_Type"):
            return f"<{kind}>"
        case dict():
            return clean(str(next(iter(argument.values()), "")), 80)
    return clean(str(argument), 80)


def _item_text(item: Any) -> str:
    """Return what Python code passes by a keyword or in a list, where null is None."""
    return "None" if item is None else argument_text(item)


def value_text(value: Any, limit: int = 160) -> str:
    """Return a returned value, or what is expected of one, in words."""
    if value is MISSING:
        return "nothing"
    match value:
        case None:
            return "NULL"
        case str():
            return clean(value, limit)
        case {"ref": token, "cstr": str(text)}:
            return f"{clean(str(token), 80)} {_quoted(text)}"
        case {"ref": token, "hex": digits}:
            return f"{clean(str(token), 80)} bytes {clean(str(digits), 80)}"
        case {"ref": _}:
            return argument_text(value)
        case {"ptr": token} | {"function": token}:
            return clean(str(token), 80)
        case {"same": inner}:
            return f"the address {argument_text(inner)}"
        case {"content": {"cstr": str(text)}}:
            return f"the text {_quoted(text)}"
        case {"content": {"hex": digits}}:
            return f"the bytes {clean(str(digits), 80)}"
        case {"values": list(items), **rest} if not rest:
            return clean(f"values {', '.join(map(str, items)) or 'none at all'}", limit)
        case {"device": list(items), **rest} if not rest:
            return clean(f"device {', '.join(map(str, items))}", limit)
        case {"fields": dict(fields), **rest} if not rest:
            return clean(", ".join(f"{name} {value_text(inner)}" for name, inner in fields.items()), limit)
        case {"text": text, **rest} if not rest:
            return shown(text, limit)
        case {"absent": True}:
            return "no such operation"
    return shown(value, limit)


def error_text(error: Any) -> str:
    """Return an exception, observed or expected, in words."""
    if error is None:
        return "no error"
    if not isinstance(error, Mapping):
        return value_text(error)
    words = [clean(str(error.get("type", "an exception")), 80)]
    if "text" in error:
        words.append(shown(error["text"], 200))
    if "code" in error:
        words.append(f"({clean(str(error['code']), 80)})")
    if error.get("attributes"):
        words.append(f"with {shown(error['attributes'], 160)}")
    return " ".join(words)


def indicator_text(seen: Mapping[str, Any]) -> str:
    """Return what an observation says of the error indicator, empty where nothing was or is set."""
    error = error_text(seen.get("error"))
    match seen.get("indicator"):
        case "set":
            return f"sets {error}"
        case "unchanged":
            return f"the pending {error} stays"
        case "replaced":
            return f"the pending exception is replaced by {error}"
        case "cleared":
            return "the pending exception is cleared"
    return ""


def of_exception(key: str) -> bool:
    """Tell whether what the `key` of an observation or a difference holds is an exception."""
    return key.rpartition(".")[2] in ("error", "before", "after", "unraisable")


def in_words(key: str, value: Any) -> str:
    """Return what one side says of the `key` of an observation, on one line."""
    last = key.rpartition(".")[2]
    if of_exception(key):
        return error_text(value)
    if last in ("events", "leaks") and isinstance(value, list):
        return ", ".join(clean(str(entry), 80) for entry in value) or "none"
    return value_text(value) if last == "return" else clean(value, 300) if isinstance(value, str) else shown(value, 300)


def event_text(event: Mapping[str, Any]) -> str:
    """Return an event in words."""
    if "unraisable" in event:
        about = event.get("object")
        tail = "" if about is None else f" about {value_text(about)}"
        return f"unraisable: {error_text(event['unraisable'])}{tail}"
    if "dlpack" in event:
        return _dlpack_text(event)
    arguments = ", ".join(clean(str(token), 80) for token in event.get("args", ()))
    if event.get("beyond"):
        return f"{event['call']} is called beyond its limit and does nothing"
    count = f", reference count {event['refcnt']}" if "refcnt" in event else ""
    return f"{clean(str(event['call']), 80)}({arguments}) is called{count}"


def _dlpack_text(event: Mapping[str, Any]) -> str:
    words = [clean(str(event["dlpack"]), 80)]
    if "of" in event:
        words.append(f"of {clean(str(event['of']), 80)}")
    if "name" in event:
        words.append(f"named {_quoted(str(event['name']))}")
    if "keywords" in event:
        words.append(f"with {clean(', '.join(map(str, event['keywords'])), 80) or 'no keywords'}")
    if "stream" in event:
        words.append(f"on stream {_item_text(event['stream'])}")
    return " ".join(words)


def _quoted(text: str) -> str:
    return '"' + clean(text, 80).replace('"', '\\"') + '"'
