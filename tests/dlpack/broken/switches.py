"""The switches: which rule each of them breaks, and which are active."""

from __future__ import annotations

__all__ = ["SWITCHES", "on", "switch"]

PRODUCER = """
    __dlpack_device__/tuple
    __dlpack__/capsule-name
    DLManagedTensor/right-struct
    dlpack.h/layout
    __dlpack__/name-is-static
    __dlpack__/capsule-destructor
    capsule-destructor/deletes-while-unconsumed:never
    capsule-destructor/deletes-while-unconsumed:always
    capsule-destructor/leaves-error-indicator
    DLManagedTensor/deleter-leaves-error-indicator
    DLManagedTensor/deleter-releases-owner
    DLManagedTensor/deleter-deletes-self
    DLManagedTensor/deleter-acquires-gil
    DLManagedTensor/deleter-after-finalisation
    DLManagedTensor/one-owner:producer
    __dlpack__/max-version-none
    __dlpack__/max-version-enough
    __dlpack__/max-version-old
    __dlpack__/max-version-too-old
    __dlpack__/may-return-another-version
    DLManagedTensorVersioned/flags-default-zero
    __dlpack__/copy-true
    __dlpack__/copy-false
    DLManagedTensorVersioned/is-copied
    DLManagedTensorVersioned/read-only
    __dlpack__/read-only-needs-flags
    DLDataType/native-endianness
    DLDataType/code-and-bits
    DLDataType/sub-byte-bits
    DLDataType/packed-bits
    __dlpack__/padded-needs-flags
    DLTensor/data-of-nothing
    DLTensor/strides-not-null
    DLTensor/byte-offset
    from_dlpack/same-values:producer
    DLTensor/inside-allocation
    DLTensor/inside-allocation:dies
    DLTensor/ndim
    DLTensor/shape
    DLTensor/shape-not-negative
    DLTensor/data
    DLTensor/size-in-64-bits
    __dlpack__/stream-cpu
    __dlpack__/dl-device
    __dlpack__/device-unsupported
    __dlpack__/buffer-error
    __dlpack__/unknown-keyword
    __dlpack__/error-with-null
"""
CONSUMER = """
    from_dlpack/needs-the-methods
    from_dlpack/type-error-retry
    from_dlpack/propagates
    from_dlpack/error-with-null
    from_dlpack/name-decides
    from_dlpack/refuses-other-names
    from_dlpack/consumed-once
    from_dlpack/verifies-version
    from_dlpack/nothing-past-flags
    from_dlpack/renames
    DLManagedTensor/one-owner:consumer
    from_dlpack/deletes-on-error
    DLManagedTensor/deleter-once
    DLManagedTensor/deleter-is-called
    DLManagedTensor/deleter-may-be-null
    DLManagedTensor/no-use-after-deleter
    from_dlpack/may-clear-destructor
    from_dlpack/copy-true
    from_dlpack/copy-false
    from_dlpack/device
    from_dlpack/blocked-copy
    from_dlpack/unsupported-device
    DLDevice/device-type
    from_dlpack/read-only-kept
    from_dlpack/read-only-ignored
    from_dlpack/unknown-dtype
    DLTensor/byte-offset:consumer
    from_dlpack/same-values
    DLTensor/zero-dimensional
    DLTensor/strides-not-null:consumer
    DLTensor/data-of-nothing:consumer
    from_dlpack/passes-stream
    DLDataType/packed-bits:consumer
"""
EXCHANGE_API = """
    DLPackExchangeAPI/on-the-type
    DLPackExchangeAPI/absent
    DLPackExchangeAPI/capsule-name
    DLPackExchangeAPI/static
    DLPackExchangeAPI/layout
    DLPackExchangeAPI/functions-not-null
    DLPackExchangeAPI/header-major
    DLPackExchangeAPI/prev-api
    DLPackExchangeAPI/error-with-failure
    managed_tensor_allocator/prototype
    managed_tensor_allocator/set-error
    managed_tensor_from_py_object_no_sync/owned
    managed_tensor_to_py_object_no_sync/steals
    managed_tensor_to_py_object_no_sync/failure-keeps
    dltensor_from_py_object_no_sync/may-be-null
    dltensor_from_py_object_no_sync/borrows
    current_work_stream/cpu-null
"""

# A rule with more than one way to break it has a switch for each, told apart behind a colon.
SWITCHES: dict[str, str] = {name: name.partition(":")[0] for name in (PRODUCER + CONSUMER + EXCHANGE_API).split()}
ACTIVE: set[str] = set()


def switch(*names: str) -> None:
    """Make these switches the active ones, and no others; ``ValueError`` for one that there is not."""
    unknown = [name for name in names if name not in SWITCHES]
    if unknown:
        raise ValueError(f"no switch {unknown[0]!r}")
    ACTIVE.clear()
    ACTIVE.update(names)


def on(name: str) -> bool:
    """Tell whether a switch is active; ``KeyError`` for one that there is not."""
    return name in ACTIVE or not SWITCHES[name]
