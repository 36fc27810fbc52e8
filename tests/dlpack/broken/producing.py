"""The producer: what ``__dlpack__`` and ``__dlpack_device__`` answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .capsules import LEGACY, VERSIONED, capsule_around
from .describing import CPU
from .exporting import export
from .switches import on

if TYPE_CHECKING:
    from .arrays import Array

__all__ = ["check_exportable", "dlpack", "dlpack_device"]


def dlpack_device() -> Any:
    """Return the device of every array."""
    return list(CPU) if on("__dlpack_device__/tuple") else CPU


def dlpack(array: Array, stream: Any, max_version: Any, dl_device: Any, copy: Any, unknown: dict[str, Any]) -> Any:
    """Return a capsule with the elements of an array.

    ``BufferError`` for another device than the CPU and for elements that cannot be described, ``ValueError`` for a
    stream, ``TypeError`` for a keyword that there is not.
    """
    if unknown and not on("__dlpack__/unknown-keyword"):
        raise TypeError(f"__dlpack__() got an unexpected keyword argument {min(unknown)!r}")
    if stream is not None and not on("__dlpack__/stream-cpu"):
        raise ValueError("the CPU has no streams")
    if dl_device is not None and tuple(dl_device) != CPU and not on("__dlpack__/dl-device"):
        raise _unsupported_device(tuple(dl_device))
    versioned = _versioned(max_version)
    copied = bool(copy)
    if on("__dlpack__/copy-true") and copy:
        copied = False
    if on("__dlpack__/copy-false") and copy is False:
        copied = True
    exported = array.copied() if copied else array
    check_exportable(exported, versioned)
    name = VERSIONED if versioned else LEGACY
    if on("DLManagedTensor/right-struct") and max_version is None:
        versioned = True
    return capsule_around(export(exported, versioned=versioned, copied=copied), array, name)


def _unsupported_device(device: tuple[int, ...]) -> Exception:
    text = f"no device {device}"
    if on("__dlpack__/device-unsupported"):
        return ValueError(text)
    if on("__dlpack__/error-with-null"):
        return SystemError("returned NULL without setting an exception")
    return BufferError(text)


def _versioned(max_version: Any) -> bool:
    """Tell whether the versioned struct is made; ``BufferError`` where no struct is."""
    if max_version is None:
        if on("__dlpack__/max-version-too-old"):
            raise BufferError("the old struct is not made")
        return on("__dlpack__/max-version-none")
    major = max_version[0]
    if major == 0 and on("__dlpack__/max-version-too-old"):
        raise RuntimeError("the old struct is not made")
    if major == 0 and on("__dlpack__/max-version-old"):
        raise BufferError("the old struct is made without max_version alone")
    if major > 1 and on("__dlpack__/max-version-enough"):
        raise BufferError("version 1 is not enough")
    if on("__dlpack__/may-return-another-version"):
        return False
    return bool(major >= 1)


def check_exportable(array: Array, versioned: bool) -> None:
    """Raise ``BufferError`` where a struct cannot say what the elements are."""
    if array.swapped and not on("DLDataType/native-endianness"):
        if on("__dlpack__/buffer-error"):
            raise RuntimeError("the byte order is foreign")
        raise BufferError("the byte order is foreign")
    if array.place % 8:
        raise BufferError("the first element begins inside a byte")
    if array.padded and not versioned and not on("__dlpack__/padded-needs-flags"):
        raise BufferError("the old struct cannot say that elements are padded")
    if not array.writable and not versioned and on("__dlpack__/read-only-needs-flags"):
        raise BufferError("the old struct cannot say that elements are read-only")
