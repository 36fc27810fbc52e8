"""How a consumer takes a tensor over, and gives it back: names, versions, owners, the deleter."""

from __future__ import annotations

import ctypes
import gc
from ctypes import c_void_p
from typing import Any

from dlpack_model.audit.kit import GetDestructor, GetName, New, Source, attempt, first, told
from dlpack_model.audit.probe import Case, cases_of, probe

NAMES = cases_of(old={"name": b"dltensor"}, versioned={"name": b"dltensor_versioned"})


@probe(
    "life",
    "consumer",
    "DLManagedTensor/deleter-once",
    cases_of(
        old={"name": b"dltensor", "context": 1},
        versioned={"name": b"dltensor_versioned", "context": 1},
        NULL_manager_ctx={"name": b"dltensor", "context": None},
    ),
)
def life(consume: Any, name: Any, context: Any) -> tuple[str, ...]:
    """Import a tensor, drop the array, and count the calls of the deleter, and of the destructor that would call it."""
    source = Source(name, manager_ctx=context)
    result, error = attempt(consume, source)
    if error:
        return "choice", f"refused: {told(error)}", "from_dlpack/name-decides"
    del result
    (late, left), named = source.state(), GetName(source.exports[-1][0]) == name
    text = f"deleted {late} times when the array is gone; the capsule is {'not ' * named}renamed"
    if late + left > 1:
        return "double free", text, "DLManagedTensor/one-owner" if left else "DLManagedTensor/deleter-once"
    if late and named:
        return "contract", text, "from_dlpack/renames"
    return ("kept", text) if late + left else ("leak", text, "DLManagedTensor/deleter-is-called")


@probe("ownership", "consumer", "from_dlpack/renames", NAMES)
def ownership(consume: Any, values: Any, name: Any) -> tuple[str, ...]:
    """Import a tensor, and see whether what shares its elements owns them."""
    source = Source(name)
    result = consume(source)
    capsule, managed, before, _ = source.exports[-1]
    early, named = first(managed) - before, GetName(capsule) == name
    ctypes.memset(source.data, 1, 24)
    if values(result) == [[0, 1, 2], [3, 4, 5]]:
        return "kept", "copies, and owns nothing"
    if early:
        return (
            "double free",
            "the deleter ran, and the elements are still shared",
            "DLManagedTensor/no-use-after-deleter",
        )
    return "contract" if named else "kept", "shares the elements" + ", and does not rename the capsule" * named


@probe("values", "consumer", "from_dlpack/name-decides", NAMES)
def values_as_named(consume: Any, values: Any, name: Any) -> tuple[str, ...]:
    """Give the struct that the capsule's name says, whatever was asked for, and read the elements."""
    result, error = attempt(consume, Source(name))
    if error:
        return "choice", f"a capsule named {name!r} is refused: {told(error)}"
    found = values(result)
    return "kept" if found == [[0, 1, 2], [3, 4, 5]] else "wrong values", f"a capsule named {name!r} gives {found}"


@probe("old-struct", "consumer", "from_dlpack/name-decides")
def old_struct(consume: Any) -> tuple[str, ...]:
    """Give the old struct to who asked for a version, and to who could not ask for one."""
    error = attempt(consume, Source(b"dltensor"))[1]
    if error is None:
        return "kept", "taken"
    older = type("Older", (Source,), {"__dlpack__": lambda self, stream=None: Source.__dlpack__(self)})
    known = attempt(consume, older())[1] is None
    text = f"the old struct is refused{', and taken where no version was asked for' * known}"
    return "contract" if known else "choice", f"{text}: {told(error)}"


@probe("null-deleter", "consumer", "DLManagedTensor/deleter-may-be-null", NAMES)
def null_deleter(consume: Any, name: Any) -> tuple[str, ...]:
    """Import a tensor that nobody has to delete, and drop the array."""
    result, error = attempt(consume, Source(name, deleter=None))
    if error:
        return "choice", f"refused: {told(error)}"
    del result
    gc.collect()
    return "kept", "nothing is called"


@probe(
    "other-names",
    "consumer",
    "from_dlpack/refuses-other-names",
    cases_of(foreign={"name": b"tensor"}, used={"name": b"used_dltensor"}, used_v={"name": b"used_dltensor_versioned"}),
)
def other_names(consume: Any, name: Any) -> tuple[str, ...]:
    """Give a capsule that is not there to be taken."""
    source = Source(name)
    error = attempt(consume, source)[1]
    if error is None:
        rule = "from_dlpack/consumed-once" if name[:4] == b"used" else "from_dlpack/refuses-other-names"
        return "contract", f"a capsule named {name!r} is taken", rule
    calls, text = source.state()[0], f"{name!r}: {told(error)}"
    return "double free" if calls else "kept", text + f"; and deleted {calls} times" * bool(calls)


@probe("same-capsule-twice", "consumer", "from_dlpack/consumed-once", NAMES)
def same_capsule_twice(consume: Any, name: Any) -> tuple[str, ...]:
    """Give one capsule two times."""
    source = Source(name)
    capsule = source.__dlpack__()
    again = type("Again", (Source,), {"__dlpack__": lambda self, **keywords: capsule})
    results = [attempt(consume, again())]
    if results[0][1] or source.state()[1]:
        return "choice", f"{results[0][1] or 'it is not renamed the first time'}", "from_dlpack/name-decides"
    second = type(attempt(lambda: results.append(consume(again())))[1]).__name__
    results.clear()
    calls = source.state()[0]
    text = f"{second.replace('NoneType', 'taken')} the second time; the deleter ran {calls} times"
    return "double free" if calls > 1 else "contract" if second == "NoneType" else "kept", text


@probe(
    "other-version",
    "consumer",
    "from_dlpack/verifies-version",
    cases_of(version_2={"major": 2}, version_0={"major": 0}, version_99={"major": 99}),
)
def other_version(consume: Any, major: Any) -> tuple[str, ...]:
    """Give a struct of another major version; the tensor in it happens to be where it was."""
    source = Source(b"dltensor_versioned", major=major)
    kept = attempt(consume, source)
    if kept[1] is None:
        return "contract" if major else "choice", f"a struct of version {major}.0 is taken"
    text = f"version {major}.0: {told(kept[1])}"
    del kept
    calls, left = source.state()
    if calls + left != 1:
        text += f"; the deleter ran {calls} times, capsules that will delete: {left}"
        return "double free" if calls + left else "leak", text, "from_dlpack/deletes-on-error"
    return "kept", text


@probe(
    "past-flags",
    "consumer",
    "from_dlpack/nothing-past-flags",
    cases_of(version_2={"major": 2}),
)
def past_flags(consume: Any, major: Any) -> tuple[str, ...]:
    """Give a struct of another major version, with nothing but traps behind its flags."""
    source = Source(b"dltensor_versioned", major=major)
    source.fields |= {"data": 16, "shape": 16, "strides": 16, "ndim": 3, "byte_offset": 1 << 60}
    error = attempt(consume, source)[1]
    return (
        "kept" if error else "contract",
        told(error) if error else f"version {major}.0 is taken",
    )


@probe("destructor-cleared", "consumer", "from_dlpack/may-clear-destructor", NAMES)
def destructor_cleared(consume: Any, name: Any) -> tuple[str, ...]:
    """Look at the capsule's destructor after the import."""
    source = Source(name)
    error = attempt(consume, source)[1]
    if error:
        return "unsupported", f"refused: {told(error)}"
    there = [bool(GetDestructor(capsule)) for capsule, _, _, _ in source.exports]
    return "choice", "leaves the destructor in the capsule" if there[-1] else "takes the destructor out of the capsule"


FAILURES = cases_of(
    unknown_type={"fields": {"code": 99}},
    seven_bits={"fields": {"bits": 7}},
    four_lanes={"fields": {"lanes": 4}},
    CUDA={"fields": {"device_type": 2}},
    OpenCL={"fields": {"device_type": 4}},
    Vulkan={"fields": {"device_type": 7}},
    Metal={"fields": {"device_type": 8}},
    ROCm={"fields": {"device_type": 10}},
    oneAPI={"fields": {"device_type": 14}},
    unknown_device={"fields": {"device_type": 99}},
    strides={"fields": {"strides": (1, 2)}},
    negative_strides={"fields": {"strides": (-3, -1), "byte_offset": 20}},
    misaligned={"fields": {"byte_offset": 1}},
    read_only={"fields": {"flags": 1}},
    many_dimensions={"fields": {"shape": (1,) * 100, "strides": (1,) * 100}},
)


@probe(
    "refusal",
    "consumer",
    "from_dlpack/deletes-on-error",
    tuple(
        Case(
            f"{case.label} ({word})",
            {**case.arguments, "name": repr(name)},
            "from_dlpack/unsupported-device" if "device_type" in case.arguments["fields"] else "",
        )
        for case in FAILURES
        for word, name in (("old", b"dltensor"), ("versioned", b"dltensor_versioned"))
    ),
)
def refusal(consume: Any, name: Any, fields: Any) -> tuple[str, ...]:
    """Give what a consumer may refuse, and see who deletes it then: one, and once."""
    source = Source(name, **fields)
    kept = attempt(consume, source)
    text = told(kept[1]) if kept[1] else "taken"
    broken = isinstance(kept[1], SystemError)
    del kept
    calls, left = source.state()
    text += f"; deleted {calls} times by the consumer, left to {left} destructors, of {len(source.exports)}"
    if broken:
        return "contract", text, "from_dlpack/error-with-null"
    if calls + left < len(source.exports):
        return "leak", text
    return (
        ("kept", text) if calls + left == len(source.exports) else ("double free", text, "DLManagedTensor/deleter-once")
    )


@probe(
    "malformed",
    "consumer",
    "DLTensor/inside-allocation",
    cases_of(
        negative_ndim={"fields": {"ndim": -1}},
        NULL_shape={"fields": {"shape": None, "ndim": 2}},
        negative_length={"fields": {"shape": (-2, 3)}},
        NULL_data={"fields": {"data": None}},
        size_overflow={"fields": {"shape": (1 << 62, 1 << 62)}},
        NULL_strides_in_1_3={"fields": {"strides": None, "minor": 3}},
        says_CPU_is_CUDA={"fields": {"device_type": 2}, "answer": (1, 0)},
    ),
    undefined=True,
)
def malformed(consume: Any, fields: Any, answer: Any = None) -> tuple[str, ...]:
    """Give what no producer may give: no rule says what happens."""
    odd = {"__dlpack_device__": lambda self: answer} if answer else {}
    source = type("Odd", (Source,), odd)(None, **fields)
    error = attempt(consume, source)[1]
    return "choice", f"refused: {told(error)}" if error else "taken"


@probe(
    "pending-at-deleter",
    "consumer",
    "DLManagedTensor/deleter-leaves-error-indicator",
    NAMES,
    dies="from_dlpack/unsupported-device",
)
def pending_at_deleter(consume: Any, name: Any) -> tuple[str, ...]:
    """Import a tensor whose deleter is Python code, and see whether an exception is pending when it is called."""
    pending = []
    source = Source(name, device_type=2)
    occurred = ctypes.PYFUNCTYPE(c_void_p)(("PyErr_Occurred", ctypes.pythonapi))
    deleter = ctypes.CFUNCTYPE(None, c_void_p)(lambda managed: pending.append(attempt(occurred)[1]))
    source.fields["deleter"] = ctypes.cast(deleter, c_void_p).value
    error = attempt(consume, source)[1]
    if error is None:
        return "choice", "takes a tensor on CUDA"
    error = None
    gc.collect()
    if not pending:
        return "choice", "leaves a tensor on a device that it refuses to the capsule's destructor"
    return "choice", f"deletes a tensor that it refuses, pending then: {', '.join(type(e).__name__ for e in pending)}"


@probe(
    "pending-at-destructor",
    "consumer",
    "capsule-destructor/leaves-error-indicator",
    NAMES,
    dies="from_dlpack/unsupported-device",
)
def pending_at_destructor(consume: Any, name: Any) -> tuple[str, ...]:
    """Give a tensor on CUDA in a capsule whose destructor clears what is pending, and see whether that is missed."""
    clear = ctypes.cast(ctypes.pythonapi.PyErr_Clear, c_void_p)

    def export(self: Any, **keywords: Any) -> Any:
        Source.__dlpack__(self, **keywords)
        return New(ctypes.addressof(self.exports[-1][1]), name, clear)

    error = attempt(consume, type("Clearing", (Source,), {"__dlpack__": export})(name, device_type=2))[1]
    if isinstance(error, SystemError):
        return "choice", "drops a capsule that it refuses while its own exception is pending"
    return (
        "choice",
        "takes a tensor on CUDA" if error is None else "drops a capsule that it refuses with nothing pending",
    )


@probe(
    "gil-at-deleter",
    "consumer",
    "DLManagedTensor/deleter-acquires-gil",
    NAMES,
    undefined=True,
    means="calls the deleter without the GIL, which one that uses Python has to take",
)
def gil_at_deleter(consume: Any, name: Any) -> tuple[str, ...]:
    """Import a tensor whose deleter is a function of Python's that dies without the GIL, and drop the array."""
    source = Source(name, deleter=ctypes.cast(ctypes.pythonapi.PyErr_CheckSignals, c_void_p).value)
    result, error = attempt(consume, source)
    if error:
        return "choice", f"refused: {told(error)}"
    del result
    gc.collect()
    return "choice", "calls the deleter with the GIL, or not at all"
