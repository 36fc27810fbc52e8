"""What a producer puts into a capsule: name, struct, version, flags."""

from __future__ import annotations

import ctypes
import gc
import math
from ctypes import c_char_p, c_int32
from typing import Any

from dlpack_model.audit.kit import STRUCTS, VERSIONED, GetName, GetPointer, NameAt, attempt, lengths, opened, told
from dlpack_model.audit.probe import cases_of, probe

ASKED = cases_of(plain={"keywords": {}}, max_version_1_0={"keywords": {"max_version": (1, 0)}})


@probe("device-tuple", "producer", "__dlpack_device__/tuple")
def device_tuple(make: Any) -> tuple[str, ...]:
    """Ask where an array is."""
    found = make().__dlpack_device__()
    whole = isinstance(found, tuple) and len(found) == 2 and all(isinstance(part, int) for part in found)
    return "kept" if whole and 1 <= found[0] <= 18 else "contract", f"__dlpack_device__() returns {found!r}"


@probe("capsule-name", "producer", "__dlpack__/capsule-name", ASKED)
def capsule_name(make: Any, keywords: Any) -> tuple[str, ...]:
    """Look at the name of a capsule."""
    capsule, error = attempt(make().__dlpack__, **keywords)
    if error:
        return "unsupported", told(error)
    name = GetName(capsule)
    return "kept" if name in STRUCTS else "contract", f"the capsule is named {name!r}"


@probe("struct", "producer", "dlpack.h/layout", ASKED)
def struct_as_named(make: Any, keywords: Any, shape: Any) -> tuple[str, ...]:
    """Read the struct that the name says, of an array of int32 whose shape is known."""
    capsule, error = attempt(make().__dlpack__, **keywords)
    if error or GetName(capsule) not in STRUCTS:
        return "unsupported", told(error) if error else f"named {GetName(capsule)!r}"
    both = (opened(capsule), VERSIONED.from_address(GetPointer(capsule, GetName(capsule))))
    seen = [(one.device_type, one.ndim, one.code, one.bits, one.lanes) for one in both]
    right = (1, len(shape), 0, 32, 1)
    if seen[0] == right and lengths(opened(capsule)) == list(shape):
        return "kept", f"device type, ndim, code, bits, lanes: {seen[0]}, shape {shape}"
    if seen[1] == right:
        return "contract", f"a versioned struct in a capsule named {GetName(capsule)!r}", "DLManagedTensor/right-struct"
    return "contract", f"device type, ndim, code, bits, lanes: {seen[0]}, where {right} and shape {shape} are right"


@probe("name-static", "producer", "__dlpack__/name-is-static", ASKED)
def name_static(make: Any, keywords: Any) -> tuple[str, ...]:
    """Compare where the names of two capsules lie, and read one after its array is gone."""
    array = make()
    capsules, error = attempt(lambda array: [array.__dlpack__(**keywords) for _ in range(2)], array)
    if error:
        return "unsupported", told(error)
    addresses, name = [NameAt(one) for one in capsules], GetName(capsules[0])
    del array, capsules
    gc.collect()
    later = c_char_p(addresses[0]).value
    static = addresses[0] == addresses[1] and later == name
    return (
        "kept" if static else "contract",
        f"two names at {len(set(addresses))} address(es), {name!r}, later {later!r}",
    )


@probe("max-version-none", "producer", "__dlpack__/max-version-none")
def max_version_none(make: Any) -> tuple[str, ...]:
    """Ask without a version."""
    capsule, error = attempt(make().__dlpack__)
    if error:
        return "kept" if isinstance(error, BufferError) else "contract", told(error)
    name = GetName(capsule)
    return "contract" if name == b"dltensor_versioned" else "kept", f"without max_version: {name!r}"


@probe("max-version-enough", "producer", "__dlpack__/max-version-enough")
def max_version_enough(make: Any) -> tuple[str, ...]:
    """Ask for versions that are enough: what comes is always of the producer's own."""
    seen = []
    for version in ((1, 0), (1, 99), (2, 0)):
        capsule, error = attempt(make().__dlpack__, max_version=version)
        named = error is None and GetName(capsule) == b"dltensor_versioned"
        seen.append(
            type(error).__name__ if error else f"{opened(capsule).major}.{opened(capsule).minor}" if named else "old"
        )
    text = f"for (1, 0), (1, 99), (2, 0): {', '.join(seen)}"
    if seen[0] in ("TypeError", "old", "BufferError"):
        return (
            "choice",
            text + ": another version than was asked for, as it may",
            "__dlpack__/may-return-another-version",
        )
    return "kept" if len(set(seen)) == 1 else "style", text


@probe("max-version-old", "producer", "__dlpack__/max-version-old")
def max_version_old(make: Any) -> tuple[str, ...]:
    """Ask for 0.8, which is the old struct."""
    capsule, error = attempt(make().__dlpack__, max_version=(0, 8))
    kept = attempt(make().__dlpack__)[1] is None
    if error is None:
        text = f"for (0, 8): {GetName(capsule)!r}"
        return ("choice", text, "__dlpack__/may-return-another-version") if GetName(capsule)[8:] else ("kept", text)
    text = f"for (0, 8): {told(error)}"
    if isinstance(error, TypeError):
        return "unsupported", text
    if isinstance(error, BufferError):
        return "style" if kept else "kept", text + ", and without max_version the old struct" * kept
    return "contract", text, "__dlpack__/max-version-too-old"


@probe("flags", "producer", "DLManagedTensorVersioned/flags-default-zero")
def flags(make: Any) -> tuple[str, ...]:
    """Look at the flags of an ordinary array."""
    capsule, error = attempt(make().__dlpack__, max_version=(1, 0))
    if error or GetName(capsule) != b"dltensor_versioned":
        return "unsupported", told(error) if error else "the old struct, which has no flags"
    found = opened(capsule).flags
    if found & 7 == found:
        return ("choice" if found else "kept"), f"flags are {found}"
    return "style", f"flags are {found:#x}, where only bits 0 to 2 have a meaning"


@probe("read-only", "producer", "DLManagedTensorVersioned/read-only")
def read_only(readonly: Any) -> tuple[str, ...]:
    """Export what must not be written to."""
    capsule, error = attempt(readonly().__dlpack__, max_version=(1, 0))
    if error or GetName(capsule) != b"dltensor_versioned":
        return "choice", told(error) if error else "the old struct, which cannot say read-only"
    found = opened(capsule).flags
    return "kept" if found & 1 else "contract", f"flags of a read-only array are {found}"


@probe("read-only-old-struct", "producer", "__dlpack__/read-only-needs-flags")
def read_only_old_struct(readonly: Any) -> tuple[str, ...]:
    """Export what must not be written to, in the struct that cannot say so."""
    error = attempt(readonly().__dlpack__)[1]
    return "choice", f"refused with {told(error)}" if error else "exported, without a mark"


@probe("memory-stays", "producer", "DLTensor/inside-allocation")
def memory_stays(make: Any, shape: Any) -> tuple[str, ...]:
    """Let go of an array that is exported, and read its elements."""
    capsule, error = attempt(make().__dlpack__)
    if error:
        return "unsupported", told(error)
    gc.collect()
    size = math.prod(shape)
    noise = [(make(), make(), ctypes.create_string_buffer(4 * size)) for _ in range(50)]
    managed = opened(capsule)
    found = list((c_int32 * size).from_address(managed.data + managed.byte_offset))
    right = found == list(range(size))
    return (
        "kept" if right else "wrong values",
        f"after the array is gone, its elements are {found}; {len(noise)} others came since",
    )
