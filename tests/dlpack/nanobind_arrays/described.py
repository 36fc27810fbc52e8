"""How the audit uses the module that is written with nanobind."""

from __future__ import annotations

from pathlib import Path

from dlpack_model.audit.registry import Array, Library

__all__ = ["library"]

INT32 = (0, 32, 1)
TYPES = {
    **{f"{sign}int{bits}": (code, bits, 1) for code, sign in ((0, ""), (1, "u")) for bits in (8, 16, 32, 64)},
    "float32": (2, 32, 1),
    "float64": (2, 64, 1),
    "complex64": (5, 64, 1),
    "bool": (6, 8, 1),
}


def library(folder: Path | None = None) -> Library:
    """Describe the module that `build` put into a folder, or into one that Python looks into by itself.

    That elements that are read-only can be written to afterwards is its own doing: so nobody is asked about it.
    """
    path = f"import sys\nsys.path.insert(0, {str(folder)!r})\n" if folder else ""
    return Library(
        "nanobind",
        path + "import nanobind_arrays",
        "nanobind_arrays.version()",
        make="nanobind_arrays.make()",
        large="nanobind_arrays.large()",
        readonly="nanobind_arrays.readonly()",
        arrays={
            **{name: Array(f"nanobind_arrays.of_type({name!r})", (6,), kind) for name, kind in TYPES.items()},
            "transposed": Array("nanobind_arrays.view((6, 4), (1, 6), 0)", (6, 4), INT32),
            "inner block": Array("nanobind_arrays.view((2, 3), (6, 1), 8)", (2, 3), INT32, "DLTensor/byte-offset"),
            "reversed": Array(
                "nanobind_arrays.view((4, 6), (-6, -1), 23)", (4, 6), INT32, "DLTensor/inside-allocation"
            ),
            "broadcast": Array("nanobind_arrays.view((2, 3), (0, 1), 0)", (2, 3), INT32),
            "no rows": Array("nanobind_arrays.view((0, 6), (6, 1), 0)", (0, 6), INT32),
            "no dimensions": Array("nanobind_arrays.view((), (), 7)", (), INT32),
        },
        consume="nanobind_arrays.take",
        # What nanobind reads of its arrays by itself: it is not what it exports by DLPack.
        values="lambda array: memoryview(array).tolist()",
        carrier=True,
    )
