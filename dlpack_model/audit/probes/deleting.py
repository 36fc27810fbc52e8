"""What the destructor of a producer's capsule does, and its deleter."""

from __future__ import annotations

import ctypes
import gc
import threading
import weakref
from ctypes import c_void_p
from typing import Any

from dlpack_model.audit.kit import (
    COUNTER,
    GetDestructor,
    GetName,
    Occurred,
    SetName,
    attempt,
    delete,
    first,
    lengths,
    opened,
    resident,
    taken,
    told,
)
from dlpack_model.audit.probe import cases_of, probe

STRUCTS_ASKED = cases_of(old={"keywords": {}}, versioned={"keywords": {"max_version": (1, 0)}})


@probe("destructor-there", "producer", "__dlpack__/capsule-destructor", STRUCTS_ASKED)
def destructor_there(make: Any, keywords: Any) -> tuple[str, ...]:
    """Look whether a capsule has a destructor."""
    capsule, error = attempt(make().__dlpack__, **keywords)
    if error:
        return "unsupported", told(error)
    if not opened(capsule).deleter:
        return "choice", "there is no deleter that a destructor could call"
    return (
        ("kept", "it has one") if GetDestructor(capsule) else ("leak", "the capsule has a deleter, and no destructor")
    )


@probe("unconsumed", "producer", "capsule-destructor/deletes-while-unconsumed", STRUCTS_ASKED)
def unconsumed(make: Any, large: Any, keywords: Any) -> tuple[str, ...]:
    """Drop a capsule that nobody consumed: its destructor calls the deleter once."""
    capsule, error = attempt(make().__dlpack__, **keywords)
    if error:
        return "unsupported", told(error)
    managed = opened(capsule)
    managed.deleter, before = COUNTER, first(managed)
    del capsule
    calls = first(managed) - before
    if calls == 0:
        start = resident()
        for _ in range(128):
            large().__dlpack__(**keywords)
        if resident() - start > 64:
            return (
                "leak",
                f"128 unconsumed capsules of 1 MiB were dropped, and {resident() - start} MiB are still there",
            )
    return "double free" if calls > 1 else "kept", f"the deleter in the struct ran {calls} times"


@probe("consumed", "producer", "capsule-destructor/deletes-while-unconsumed", STRUCTS_ASKED)
def consumed(make: Any, keywords: Any) -> tuple[str, ...]:
    """Drop a capsule that was renamed as a consumer does: its destructor does nothing."""
    capsule, error = attempt(make().__dlpack__, **keywords)
    if error:
        return "unsupported", told(error)
    managed = taken(capsule)
    managed.deleter, before = COUNTER, first(managed)
    del capsule
    left = attempt(Occurred)[1]
    if left:
        return "contract", f"leaves {told(left)}", "capsule-destructor/leaves-error-indicator"
    calls = first(managed) - before
    return "double free" if calls else "kept", f"of a consumed capsule the destructor calls the deleter {calls} times"


@probe("foreign-name", "producer", "capsule-destructor/leaves-error-indicator", STRUCTS_ASKED)
def foreign_name(make: Any, keywords: Any) -> tuple[str, ...]:
    """Drop a capsule that somebody gave a name of his own."""
    capsule, error = attempt(make().__dlpack__, **keywords)
    if error:
        return "unsupported", told(error)
    managed = opened(capsule)
    managed.deleter, before = COUNTER, first(managed)
    SetName(capsule, b"another name")
    del capsule
    left = attempt(Occurred)[1]
    if left:
        return "contract", f"the destructor leaves {told(left)} pending"
    calls = first(managed) - before
    if calls:
        return "contract", "the destructor deletes under another name", "capsule-destructor/deletes-while-unconsumed"
    return "kept", "the destructor does nothing that is seen"


@probe(
    "pending-error",
    "producer",
    "capsule-destructor/leaves-error-indicator",
    cases_of(
        unconsumed={"keywords": {}, "name": None},
        unconsumed_versioned={"keywords": {"max_version": (1, 0)}, "name": None},
        consumed={"keywords": {}, "name": b"used_dltensor"},
        consumed_versioned={"keywords": {"max_version": (1, 0)}, "name": b"used_dltensor_versioned"},
        foreign_name={"keywords": {}, "name": b"another name"},
        foreign_name_versioned={"keywords": {"max_version": (1, 0)}, "name": b"another name"},
    ),
)
def pending_error(make: Any, keywords: Any, name: Any) -> tuple[str, ...]:
    """Drop a capsule while an exception is pending: ``int`` sets its own, and lets go of its argument then."""
    capsule, error = attempt(make().__dlpack__, **keywords)
    if error or bool(name and b"versioned" in name) > (GetName(capsule) == b"dltensor_versioned"):
        return "unsupported", told(error) if error else "the old struct"
    if name:
        SetName(capsule, name)
    holder = [capsule]
    del capsule
    error = attempt(lambda: int(holder.pop()))[1]
    if isinstance(error, TypeError) and "int()" in str(error):
        return "kept", "the exception stays"
    # Nobody but whoever renames a capsule of another's comes here with a foreign name.
    worst = "style" if name == b"another name" else "contract"
    return worst, f"the TypeError of int() was pending and became {told(error)}"


@probe("deleter-pending-error", "producer", "DLManagedTensor/deleter-leaves-error-indicator", STRUCTS_ASKED)
def deleter_leaves_error(make: Any, keywords: Any) -> tuple[str, ...]:
    """Call a deleter with nothing pending, and look whether something is pending then."""
    capsule, error = attempt(make().__dlpack__, **keywords)
    if error:
        return "unsupported", told(error)
    left = attempt(delete, taken(capsule))[1]
    return "contract" if left else "kept", f"after the deleter {left!r} is pending" if left else "nothing is pending"


@probe("deleter-releases-memory", "producer", "DLManagedTensor/deleter-releases-owner", STRUCTS_ASKED)
def deleter_releases_memory(large: Any, keywords: Any) -> tuple[str, ...]:
    """Export 128 arrays of 1 MiB, let go of them, and call their deleters."""
    error = attempt(large().__dlpack__, **keywords)[1]
    if error:
        return "unsupported", told(error)
    start = resident()
    for _ in range(128):
        delete(taken(large().__dlpack__(**keywords)))
    gc.collect()
    grown = resident() - start
    return "leak" if grown > 64 else "kept", f"{grown} of 128 MiB are still there" if grown > 64 else "given back"


@probe("deleter-frees-struct", "producer", "DLManagedTensor/deleter-deletes-self", STRUCTS_ASKED)
def deleter_frees_struct(make: Any, keywords: Any) -> tuple[str, ...]:
    """Export an array 20,000 times, and again, and again, and call the deleter each time."""
    array, grown = make(), []
    error = attempt(array.__dlpack__, **keywords)[1]
    if error:
        return "unsupported", told(error)
    for _ in range(4):
        start = resident()
        for _ in range(20_000):
            delete(taken(array.__dlpack__(**keywords)))
        grown.append(resident() - start)
    leaks = min(grown[1:]) >= 1
    return "leak" if leaks else "kept", f"20,000 exports, three times: {grown[1:]} MiB more" if leaks else "freed"


@probe("deleter-without-gil", "producer", "DLManagedTensor/deleter-acquires-gil", STRUCTS_ASKED)
def deleter_without_gil(make: Any, keywords: Any) -> tuple[str, ...]:
    """Call the deleter on a thread that does not hold the GIL, as the last owner of the array."""
    array = make()
    capsule, error = attempt(array.__dlpack__, **keywords)
    if error:
        return "unsupported", told(error)
    seen: list[Any] = []
    attempt(lambda array: seen.append(weakref.ref(array, seen.append)), array)
    managed = taken(capsule)
    del array, capsule
    if managed.deleter:
        call = ctypes.CFUNCTYPE(None, c_void_p)(managed.deleter)
        thread = threading.Thread(target=call, args=(ctypes.addressof(managed),))
        thread.start()
        thread.join()
    return "kept", "the deleter runs without the GIL"


@probe("deleter-at-exit", "producer", "DLManagedTensor/deleter-after-finalisation", STRUCTS_ASKED, ends=True)
def deleter_at_exit(make: Any, keywords: Any) -> tuple[str, ...]:
    """Leave a tensor to an exit handler of C's, which calls the deleter when the interpreter has ended."""
    capsule, error = attempt(make().__dlpack__, **keywords)
    if error:
        return "unsupported", told(error)
    managed = taken(capsule)
    register = ctypes.CFUNCTYPE(ctypes.c_int, c_void_p, c_void_p, c_void_p)(("__cxa_atexit", ctypes.CDLL(None)))
    if managed.deleter:
        register(managed.deleter, ctypes.addressof(managed), None)
    return "kept", "the process ends in peace"


@probe("two-exports", "producer", "DLManagedTensor/one-owner", STRUCTS_ASKED)
def two_exports(make: Any, keywords: Any) -> tuple[str, ...]:
    """Export an array twice, delete one, and look at the other."""
    array = make()
    capsules, error = attempt(lambda: [array.__dlpack__(**keywords) for _ in range(2)])
    if error:
        return "unsupported", told(error)
    one, other = map(taken, capsules)
    before = lengths(other), ctypes.string_at(other.data + other.byte_offset, 4 * 6)
    delete(one)
    noise = [ctypes.create_string_buffer(size) for size in range(32, 160, 8)]
    after = (lengths(other), ctypes.string_at(other.data + other.byte_offset, 4 * 6)) if other.data else ([], b"")
    if before != after:
        return "double free", f"the deleter of one export takes the other with it: {before[0]}, then {after[0]}"
    delete(other)
    return "kept", f"two exports are two tensors, also after {len(noise)} allocations"
