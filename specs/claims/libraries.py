"""What NumPy, PyTorch, JAX, Pillow and lxml do. Each is skipped where it is not installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from capi import GetName, Import, Skip, capsule_type, library, told


def _numpy() -> Any:
    numpy = library("numpy")
    if int(numpy.__version__.split(".")[0]) < 1:
        raise Skip(f"numpy {numpy.__version__} is too old")
    return numpy


def _newer_numpy() -> Any:
    numpy = _numpy()
    if tuple(map(int, numpy.__version__.split(".")[:2])) < (2, 1):
        raise Skip(f"numpy {numpy.__version__} knows no versions of DLPack")
    return numpy


def numpy_takes_a_capsule() -> tuple[bool, str]:
    """Tell whether numpy.from_dlpack takes a capsule."""
    numpy = _numpy()
    said = told(numpy.from_dlpack, numpy.arange(3).__dlpack__())
    return said.startswith("array"), f"numpy {numpy.__version__}: {said}"


def numpy_takes_arrays() -> tuple[bool, str]:
    """Tell whether numpy.from_dlpack takes an object with the two methods."""
    numpy = _numpy()
    said = told(numpy.from_dlpack, numpy.arange(3))
    return said.startswith("array"), f"numpy {numpy.__version__}: {said}"


def numpy_shares() -> tuple[bool, str]:
    """Tell whether numpy.from_dlpack shares memory."""
    numpy = _numpy()
    array = numpy.arange(3)
    view = numpy.from_dlpack(array)
    array[0] = 7
    return int(view[0]) == 7, f"numpy {numpy.__version__}: a write to the producer is seen: {view[0]}"


def numpy_copies_when_asked() -> tuple[bool, str]:
    """Tell whether, with copy=True it shares all the same."""
    numpy = _newer_numpy()
    array = numpy.arange(3)
    view = numpy.from_dlpack(array, copy=True)
    array[0] = 7
    return int(view[0]) == 7, f"numpy {numpy.__version__}: a write to the producer is seen as {view[0]}"


def numpy_names_versioned_structs_dltensor() -> tuple[bool, str]:
    """Tell whether the versioned struct travels under the name dltensor."""
    numpy = _newer_numpy()
    name = GetName(numpy.arange(3).__dlpack__(max_version=(1, 0)))
    return name == b"dltensor", f"numpy {numpy.__version__}: {name.decode()}"


def numpy_exports_versioned_unasked() -> tuple[bool, str]:
    """Tell whether __dlpack__() without arguments gives the versioned struct."""
    numpy = _numpy()
    name = GetName(numpy.arange(3).__dlpack__())
    return name == b"dltensor_versioned", f"numpy {numpy.__version__}: {name.decode()}"


def numpy_frombuffer_copies() -> tuple[bool, str]:
    """Tell whether numpy.frombuffer copies the bytes."""
    numpy = _numpy()
    data = bytearray(4)
    array = numpy.frombuffer(data, numpy.uint8)
    data[0] = 7
    return int(array[0]) != 7, f"numpy {numpy.__version__}: a write to the bytes is seen: {array[0]}"


def _array_api(numpy: Any) -> Any:
    core = getattr(numpy, "_core", None) or numpy.core
    return core.multiarray._ARRAY_API


def numpy_capsule() -> tuple[bool, str]:
    """Tell whether NumPy's C API is in a capsule, _ARRAY_API of multiarray."""
    numpy = _numpy()
    found = _array_api(numpy)
    return type(found) is capsule_type(), f"numpy {numpy.__version__}: {found!r}"


def numpy_is_imported_by_path() -> tuple[bool, str]:
    """Tell whether PyCapsule_Import finds NumPy's C API by its path."""
    numpy = _numpy()
    path = "numpy._core._multiarray_umath._ARRAY_API"
    if not hasattr(numpy, "_core"):
        path = path.replace("_core", "core")
    said = told(Import, path.encode(), 0)
    return said.isdigit(), f"numpy {numpy.__version__}: {said}; the name is {GetName(_array_api(numpy))}"


def _headers(numpy: Any) -> Path:
    folder = Path(numpy.get_include()) / "numpy"
    if not folder.is_dir():
        raise Skip("the headers of numpy are not installed")
    return folder


def numpy_table_in_ndarrayobject_h() -> tuple[bool, str]:
    """Tell whether the header ndarrayobject.h defines the table."""
    numpy = _numpy()
    folder = _headers(numpy)
    defining = [file.name for file in sorted(folder.glob("*.h")) if "PyArray_API[" in file.read_text("utf-8")]
    return "ndarrayobject.h" in defining, f"numpy {numpy.__version__}: {', '.join(defining)}"


def _slots(numpy: Any) -> set[int]:
    """Return the entries of PyArray_API that have a name."""
    text = "".join(file.read_text("utf-8") for file in _headers(numpy).glob("*multiarray_api.h"))
    return {int(slot) for slot in re.findall(r"PyArray_API\[(\d+)\]", text)}


def numpy_1_has_300_entries() -> tuple[bool, str]:
    """Tell whether PyArray_API of NumPy 1 has more than 300 entries."""
    numpy = _numpy()
    if not numpy.__version__.startswith("1."):
        raise Skip(f"numpy is {numpy.__version__}")
    slots = _slots(numpy)
    return len(slots) > 300, f"numpy {numpy.__version__}: {len(slots)} entries in use, the highest {max(slots)}"


def numpy_2_has_300_entries() -> tuple[bool, str]:
    """Tell whether PyArray_API of NumPy 2 has more than 300 entries."""
    numpy = _numpy()
    if numpy.__version__.startswith("1."):
        raise Skip(f"numpy is {numpy.__version__}")
    slots = _slots(numpy)
    return len(slots) > 300, f"numpy {numpy.__version__}: {len(slots)} entries in use, the highest {max(slots)}"


def _torch() -> Any:
    return library("torch")


def torch_shares() -> tuple[bool, str]:
    """Tell whether torch.from_dlpack shares memory with the array that it is given."""
    torch = _torch()
    source = torch.arange(3)
    view = torch.from_dlpack(source)
    source[0] = 7
    return int(view[0]) == 7, f"torch {torch.__version__}: a write to the producer is seen: {int(view[0])}"


def torch_takes_a_capsule() -> tuple[bool, str]:
    """Tell whether torch.utils.dlpack.from_dlpack takes the capsule that to_dlpack made."""
    torch = _torch()
    capsule = torch.utils.dlpack.to_dlpack(torch.arange(3))
    said = told(torch.utils.dlpack.from_dlpack, capsule)
    return said.startswith("tensor"), f"torch {torch.__version__}: {said}"


def torch_capsule_is_dltensor() -> tuple[bool, str]:
    """Tell whether what torch.utils.dlpack.to_dlpack makes shows itself as a capsule named dltensor."""
    torch = _torch()
    shown = repr(torch.utils.dlpack.to_dlpack(torch.arange(3)))
    return '"dltensor"' in shown, f"torch {torch.__version__}: {shown.partition(' at ')[0]}"


def torch_second_use_is_undefined() -> tuple[bool, str]:
    """Tell whether to use a capsule a second time is undefined: anything may happen."""
    torch = _torch()
    capsule = torch.utils.dlpack.to_dlpack(torch.arange(3))
    torch.utils.dlpack.from_dlpack(capsule)
    said = told(torch.utils.dlpack.from_dlpack, capsule)
    return said.startswith("tensor"), f"torch {torch.__version__}: {said[:160]}"


def pillow_shares_an_api() -> tuple[bool, str]:
    """Tell whether Pillow publishes an API of functions in a capsule."""
    image_library = library("PIL.Image", least="Pillow")
    core = image_library.core
    tables = [name for name, value in vars(core).items() if type(value) is capsule_type()]
    image = image_library.new("L", (2, 2)).im
    held = getattr(image, "ptr", None)
    version = library("PIL", least="Pillow").__version__
    shown = f"Pillow {version}: no capsule in PIL.Image.core; an image has {held!r}"
    return bool(tables), shown.partition(" at ")[0]


def lxml_shares_trees() -> tuple[bool, str]:
    """Tell whether lxml shares pointers to libxml2's trees in capsules."""
    etree = library("lxml.etree", least="lxml")
    table = etree.__pyx_capi__
    names = [GetName(value).decode() for value in table.values()]
    trees = [name for name in names if "(" not in name]
    shown = f"{len(names)} capsules, each a function, such as {names[0]!r}; trees among them: {len(trees)}"
    return bool(trees), f"lxml {etree.__version__}: {shown}"


def lxml_shares_functions() -> tuple[bool, str]:
    """Tell whether lxml shares C functions in capsules."""
    etree = library("lxml.etree", least="lxml")
    found = [value for value in etree.__pyx_capi__.values() if type(value) is capsule_type()]
    return len(found) > 1, f"lxml {etree.__version__}: {len(found)} capsules in lxml.etree.__pyx_capi__"


def lxml_adopts_trees() -> tuple[bool, str]:
    """Tell whether lxml takes a libxml2 tree over from a capsule."""
    etree = library("lxml.etree", least="lxml")
    function = getattr(etree, "adopt_external_document", None)
    said = told(function, 1) if function else "no adopt_external_document"
    return function is not None, f"lxml {etree.__version__}: {said}"


def jax_refuses_a_capsule() -> tuple[bool, str]:
    """Tell whether jax.dlpack.from_dlpack refuses a capsule."""
    jax = library("jax")
    library("jax.dlpack")
    said = told(jax.dlpack.from_dlpack, jax.numpy.arange(3).__dlpack__())
    return said.startswith("TypeError"), f"jax {jax.__version__}: {said[:160]}"
