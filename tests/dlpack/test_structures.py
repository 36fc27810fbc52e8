"""The structs: the model's layout equals that of ctypes, and that of a compiler for this machine and for i386."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from dlpack_model.abi import STRUCTS, Abi, abi_for
from dlpack_model.real.structures import STRUCTURES, offsets_of

HERE = abi_for(ctypes.sizeof(ctypes.c_void_p), sys.byteorder, ctypes.alignment(ctypes.c_uint64))
# Written down again for the compiler, from the header's text: the model's own layout is what is on trial.
SOURCE = """
#include <stddef.h>
#include <stdint.h>
typedef struct { uint32_t major, minor; } DLPackVersion;
typedef struct { int32_t device_type, device_id; } DLDevice;
typedef struct { uint8_t code, bits; uint16_t lanes; } DLDataType;
typedef struct {
    void *data; DLDevice device; int32_t ndim; DLDataType dtype; int64_t *shape, *strides; uint64_t byte_offset;
} DLTensor;
typedef struct DLManagedTensor {
    DLTensor dl_tensor; void *manager_ctx; void (*deleter)(struct DLManagedTensor *);
} DLManagedTensor;
typedef struct DLManagedTensorVersioned {
    DLPackVersion version; void *manager_ctx; void (*deleter)(struct DLManagedTensorVersioned *); uint64_t flags;
    DLTensor dl_tensor;
} DLManagedTensorVersioned;
typedef struct DLPackExchangeAPIHeader {
    DLPackVersion version; struct DLPackExchangeAPIHeader *prev_api;
} DLPackExchangeAPIHeader;
typedef struct {
    DLPackExchangeAPIHeader header;
    void (*managed_tensor_allocator)(void), (*managed_tensor_from_py_object_no_sync)(void);
    void (*managed_tensor_to_py_object_no_sync)(void), (*dltensor_from_py_object_no_sync)(void);
    void (*current_work_stream)(void);
} DLPackExchangeAPI;
"""


def assertions(abi: Abi) -> str:
    """Return what the compiler is to check: the size of each struct and the place of each field, as the model says."""
    lines = []
    for name, codec in abi.codecs.items():
        lines.append(f'_Static_assert(sizeof({name}) == {codec.size}, "sizeof {name}");')
        for field, (offset, _) in codec.offsets.items():
            lines.append(f'_Static_assert(offsetof({name}, {field}) == {offset}, "{name}.{field}");')
    return "\n".join(lines)


def compiled(folder: Path, source: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Compile a source, or skip where there is no compiler that takes these flags."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    empty, file = folder / "empty.c", folder / "structs.c"
    empty.write_text("#include <stdint.h>\n#include <stddef.h>\n")
    file.write_text(source)
    command = [compiler, "-std=c11", "-ffreestanding", "-fsyntax-only", *flags]
    if subprocess.run([*command, str(empty)], capture_output=True).returncode != 0:
        pytest.skip(f"the C compiler does not take {' '.join(flags)}")
    return subprocess.run([*command, str(file)], capture_output=True, text=True)


def header() -> Path:
    """Return the folder in which dlpack.h lies, or skip where no package has brought it."""
    for package, place in (("tvm_ffi", "include/dlpack"), ("torch", "include/ATen")):
        found = find_spec(package)
        for folder in (found.submodule_search_locations or []) if found is not None else []:
            if (Path(folder) / place / "dlpack.h").exists():
                return Path(folder) / place
    pytest.skip("needs dlpack.h, as apache-tvm-ffi and torch bring it")


@pytest.mark.parametrize("name", STRUCTS)
def test_fields_lie_where_ctypes_puts_them(name: str) -> None:
    """Offset and size of every scalar field equal those of the ctypes structure."""
    codec, structure = HERE.codecs[name], STRUCTURES[name]
    ours = {field: (offset, codec.layout.scalar(kind)[0]) for field, (offset, kind) in codec.offsets.items()}
    assert (ctypes.sizeof(structure), offsets_of(structure)) == (codec.size, ours)


@pytest.mark.parametrize("name", STRUCTS)
def test_bytes_equal_those_of_ctypes(name: str) -> None:
    """A struct whose fields all differ has the same bytes, packed by the model and written through ctypes."""
    codec = HERE.codecs[name]
    values = {field: 3 + 7 * number for number, field in enumerate(codec.names)}
    structure = STRUCTURES[name]()
    for field, value in values.items():
        *outer, last = field.split(".")
        inner = structure
        for step in outer:
            inner = getattr(inner, step)
        setattr(inner, last, value)
    assert bytes(structure) == codec.pack(*values.values())


def test_compiler_lays_them_out_alike(tmp_path: Path) -> None:
    """The compiler for this machine agrees with every offset and every size."""
    assert compiled(tmp_path, SOURCE + assertions(HERE)).stderr == ""


def test_compiler_for_i386_lays_them_out_alike(tmp_path: Path) -> None:
    """A compiler for i386, where 64-bit integers are aligned to 4, agrees as well."""
    assert compiled(tmp_path, SOURCE + assertions(abi_for(4, "little", 4)), "-m32").stderr == ""


def test_header_lays_them_out_alike(tmp_path: Path) -> None:
    """The real dlpack.h agrees, on this machine."""
    include = f'#include <stddef.h>\n#include "{header() / "dlpack.h"}"\n'
    assert compiled(tmp_path, include + assertions(HERE)).stderr == ""


def test_compiler_notices_a_wrong_offset(tmp_path: Path) -> None:
    """The checks can fail: i386 is not this machine."""
    if HERE.word != 8:
        pytest.skip("needs a machine of 64 bits")
    assert "DLTensor.shape" in compiled(tmp_path, SOURCE + assertions(abi_for(4, "little", 4))).stderr
