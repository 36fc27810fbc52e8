"""Real libraries: what the ``from_dlpack`` of each does, declared as the style of a consumer.

Each value has its source beside it: a file of the library, or what was observed when all scenarios of
``dlpack_model.real`` ran on the versions named. Builds and machines without accelerators are meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dlpack_model.abi import DLDataTypeCode as C
from dlpack_model.abi import DLDeviceType as D
from dlpack_model.styles import Consumer
from dlpack_model.tensor import Layout

__all__ = ["LIBRARIES", "Library", "library_for"]

EVERY_DEVICE = frozenset(device.value for device in D) | {99}
HOST = frozenset({D.kDLCPU.value, D.kDLCUDAHost.value, D.kDLROCMHost.value, D.kDLCUDAManaged.value})
MANY = 1 << 31
WIDTHS = (8, 16, 32, 64)
INTEGERS = frozenset((code.value, bits) for code in (C.kDLInt, C.kDLUInt) for bits in WIDTHS)
PLAIN = (
    INTEGERS
    | {(C.kDLFloat.value, bits) for bits in (16, 32, 64)}
    | {(C.kDLComplex.value, bits) for bits in (64, 128)}
    | {(C.kDLBool.value, 8)}
)
BFLOAT = (C.kDLBfloat.value, 16)


@dataclass(frozen=True, slots=True)
class Library:
    """One library in a range of versions, and how it imports.

    ``versions`` are the first one and the first one that is no longer meant, of those that ``ran``. ``module`` is what
    is imported, and the extra that installs it. ``shows_writeable`` tells whether a result says that it is
    read-only; elements on the device types of ``reads`` can be looked at, except those of the types ``unread``.
    """

    name: str
    module: str
    versions: tuple[tuple[int, int], tuple[int, int]]
    ran: tuple[str, ...]
    consumer: Consumer
    shows_writeable: bool = False
    reads: frozenset[int] = EVERY_DEVICE
    unread: frozenset[tuple[int, int]] = frozenset()

    def shows(self, layout: Layout) -> bool:
        """Tell whether the elements of a result can be looked at."""
        return layout.device[0] in self.reads and (layout.dtype.code, layout.dtype.bits) not in self.unread


# Source: numpy/core/src/multiarray/dlpack.c of 1.26.4, from_dlpack; what it takes is one object with __dlpack__.
NUMPY_1_26 = Consumer(
    "numpy-1.26",
    # One positional argument, nothing else.
    takes=frozenset(),
    # __dlpack_device__ is not called, and __dlpack__ without any keyword.
    asks_device=False,
    max_version=None,
    sends_stream=False,
    retries=(),
    # The old struct alone: PyCapsule_GetPointer with "dltensor", whose ValueError is passed on.
    structs=frozenset({False}),
    # A capsule named numpy_dltensor is the base of the array, and owns the tensor; then comes SetName.
    owner="internal-capsule",
    # Each way out on failure is PyErr_SetString, then Py_DECREF(capsule).
    lets_go="pending",
    devices=HOST,
    dtypes=PLAIN,
    lanes=False,
    # NPY_MAXDIMS, numpy/core/include/numpy/ndarraytypes.h of 1.26.4.
    most_ndim=32,
    # PyArray_NewFromDescr with flags 0.
    read_only="always",
    # PyArray_NewFromDescr allocates where data is NULL, and then the array may be written to.
    own_memory_for_null=True,
    errors={
        "ndim": "RuntimeError",
        "device": "RuntimeError",
        "lanes": "RuntimeError",
        "dtype": "RuntimeError",
        # PyArray_NewFromDescr refuses these.
        "negative-ndim": "ValueError",
        "negative-length": "ValueError",
        "too-large": "ValueError",
    },
)

# Source: numpy/_core/src/multiarray/dlpack.c of 2.4.6; 2.1 to 2.4 have the same from_dlpack.
NUMPY_2 = replace(
    NUMPY_1_26,
    name="numpy-2",
    takes=frozenset({"copy", "device"}),
    # npy_static_data.c: dl_call_kwnames and dl_max_version; copy and dl_device are sent as None where not given.
    max_version=(1, 0),
    sends_always=("dl_device", "copy"),
    # After a TypeError once more without any keyword, unless copy or device was given.
    retries=(frozenset({"max_version", "dl_device", "copy"}),),
    retries_plain=True,
    structs=frozenset({True, False}),
    # version.major > 1 is refused, with BufferError.
    accepts_older=True,
    most_ndim=64,
    # The flag of the new struct is kept; what comes in the old struct is read-only.
    read_only="legacy-too",
)

# Source: torch/utils/dlpack.py of 2.14.1, aten/src/ATen/DLConvertor.cpp and torch/csrc/utils/tensor_new.cpp as of
# the repository; where a comment says "observed", on 2.14.1. It takes an object with __dlpack__, or a capsule.
TORCH = Consumer(
    "torch",
    takes_capsules=True,
    # __dlpack_device__ first; max_version is (1, 0), copy and dl_device are sent where they were given.
    max_version=(1, 0),
    # Four attempts, each after a TypeError or a None, whether or not something was left out of the last one.
    retries=(frozenset({"max_version"}), frozenset({"copy"}), frozenset({"dl_device"})),
    retries_unchanged=True,
    retries_none=True,
    streamed=frozenset({D.kDLCUDA.value, D.kDLROCM.value}),
    # tensor.clone() where copy=True went unheard, as a consumer does.
    # torch.cuda.current_stream is asked for CUDA and ROCm, before __dlpack__: there is no driver.
    absent=frozenset({D.kDLCUDA.value, D.kDLROCM.value}),
    # The variable dlpack of from_dlpack holds the capsule.
    lets_go="frame",
    accepts_older=True,
    devices=frozenset(
        # getATenDevice; Metal and MAIA give tensors that nothing can be done with (observed).
        {D.kDLCPU.value, D.kDLCUDA.value, D.kDLOpenCL.value, D.kDLMetal.value, D.kDLExtDev.value, D.kDLMAIA.value}
    ),
    # Observed: at::from_blob gives up on OpenCL with the storage made, whose deleter runs, before the capsule is
    # renamed; the initialisation of CUDA and of a private backend gives up afterwards.
    fails_late={D.kDLOpenCL.value: False, D.kDLCUDA.value: True, D.kDLExtDev.value: True},
    dtypes=PLAIN
    | {BFLOAT, (C.kDLComplex.value, 32), (C.kDLFloat4_e2m1fn.value, 4)}
    | {
        (code.value, 8)
        for code in (
            C.kDLFloat8_e4m3fn,
            C.kDLFloat8_e4m3fnuz,
            C.kDLFloat8_e5m2,
            C.kDLFloat8_e5m2fnuz,
            C.kDLFloat8_e8m0fnu,
        )
    },
    lanes=False,
    # torch.float4_e2m1fn_x2 is two lanes of 4 bits.
    lanes_of={(C.kDLFloat4_e2m1fn.value, 4): 2},
    most_ndim=MANY,
    # Observed: computing the size of the storage overflows.
    negative_strides=False,
    # Observed: "Expected zero byte_offset".
    offset_without_strides=False,
    # The flag is not looked at.
    read_only="ignores",
    errors={
        "methods": "RuntimeError",
        "name": "RuntimeError",
        "capsule-keywords": "AssertionError",
        "runtime": "RuntimeError",
        "version": "RuntimeError",
        # Observed: BufferError, but for these.
        f"device {D.kDLOpenCL.value}": "RuntimeError",
        f"device {D.kDLCUDA.value}": "RuntimeError",
        f"device {D.kDLExtDev.value}": "ModuleNotFoundError",
        f"device {D.kDLOneAPI.value}": "RuntimeError",
        "offset-without-strides": "ValueError",
        "negative-strides": "RuntimeError",
        "negative-length": "RuntimeError",
        "too-large": "RuntimeError",
    },
)

# Source: jax/_src/dlpack.py of 0.10.2 and jaxlib/dlpack.cc as of the repository; where a comment says "observed", on
# 0.10.2 with its defaults, jax_enable_x64 off. It takes an object with both methods.
JAX = Consumer(
    "jax",
    # __dlpack_device__ is unpacked into two; then __dlpack__(stream=…), with None on CPU, and no other keyword.
    unpacks_device=True,
    platforms=frozenset({D.kDLCPU.value, D.kDLCUDA.value, D.kDLCUDAHost.value, D.kDLROCM.value}),
    absent=frozenset({D.kDLCUDA.value, D.kDLCUDAHost.value, D.kDLROCM.value}),
    device_numbers=1,
    max_version=None,
    sends_always=("stream",),
    sends_device=False,
    retries=(),
    structs=frozenset({False}),
    # PyCapsule_SetName, then PyCapsule_SetDestructor with NULL.
    clears_destructor=True,
    # The variable dlpack of from_dlpack holds the capsule.
    lets_go="frame",
    # What the struct says of its device is overruled by __dlpack_device__.
    devices=EVERY_DEVICE,
    dtypes=PLAIN | {BFLOAT} | {(code.value, 8) for code in C if code.name.startswith("kDLFloat8")},
    lanes=False,
    most_ndim=MANY,
    compact_only=True,
    # Observed: a view of the elements wants them at a multiple of 64; else they are copied, unless copy=False.
    copies_if_misaligned=64,
    copies="consumer",
    sends_copy=False,
    # Observed: with copy=True, elements that are aligned and row-major are taken as they are.
    copy_may_share=True,
    # jnp.asarray with the canonical type.
    converts={
        (C.kDLInt.value, 64): (C.kDLInt.value, 32),
        (C.kDLUInt.value, 64): (C.kDLUInt.value, 32),
        (C.kDLFloat.value, 64): (C.kDLFloat.value, 32),
        (C.kDLComplex.value, 128): (C.kDLComplex.value, 64),
    },
    # No array of JAX can be written to, and none says so.
    read_only="ignores",
    # Observed: std::bad_function_call, when the array dies.
    calls_null_deleter=True,
    errors={
        "methods": "TypeError",
        "answer": "ValueError",
        "device": "TypeError",
        "runtime": "RuntimeError",
        "number": "RuntimeError",
        "no-capsule": "TypeError",
        "name": "RuntimeError",
        "dtype": "RuntimeError",
        "lanes": "RuntimeError",
        "strides": "RuntimeError",
        "misaligned": "ValueError",
        "negative-ndim": "RuntimeError",
        "negative-length": "RuntimeError",
        "too-large": "RuntimeError",
    },
)

LIBRARIES: Mapping[str, Library] = {
    one.name: one
    for one in (
        Library("numpy-1.26", "numpy", ((1, 26), (2, 0)), ("1.26.4",), NUMPY_1_26, shows_writeable=True),
        Library("numpy-2", "numpy", ((2, 1), (2, 5)), ("2.4.6",), NUMPY_2, shows_writeable=True),
        Library(
            "torch",
            "torch",
            ((2, 14), (2, 15)),
            ("2.14.1",),
            TORCH,
            reads=frozenset({D.kDLCPU.value}),
            unread=frozenset({(C.kDLFloat4_e2m1fn.value, 4)}),
        ),
        Library("jax", "jax", ((0, 10), (0, 11)), ("0.10.2",), JAX),
    )
}


def library_for(module: str, version: str) -> Library:
    """Return what is declared for a version of a library; ``ValueError`` where nothing is."""
    major, minor = (int(part) for part in version.split(".")[:2])
    declared = [library for library in LIBRARIES.values() if library.module == module]
    for library in declared:
        least, below = library.versions
        if least <= (major, minor) < below:
            return library
    known = " or ".join(
        f"{from_[0]}.{from_[1]} to below {to[0]}.{to[1]}" for from_, to in (x.versions for x in declared)
    )
    raise ValueError(f"no style is declared for {module} {version}: expected {known or 'numpy, torch or jax'}")
