"""How the audit uses the library that breaks what it is told to."""

from __future__ import annotations

from pathlib import Path

from dlpack_model.audit.registry import Array, Library

__all__ = ["described"]

INT32 = (0, 32, 1)
SQUARE = "broken.arange(24).reshape(4, 6)"


def described(*switches: str) -> Library:
    """Describe the broken library with these switches on."""
    here = str(Path(__file__).parent)
    return Library(
        "broken",
        f"import sys\nsys.path.insert(0, {here!r})\nimport broken\nbroken.switch(*{switches!r})",
        "'1.0'",
        make="broken.arange(6).reshape(2, 3)",
        large="broken.filled(1 << 20)",
        readonly="broken.arange(6).readonly()",
        swapped="broken.arange(6).byteswapped()",
        padded="broken.asarray([0, 1, 2, 3], 'int4', padded=True)",
        arrays={
            "int8": Array("broken.arange(6, 'int8')", (6,), (0, 8, 1)),
            "uint16": Array("broken.arange(6, 'uint16')", (6,), (1, 16, 1)),
            "float32": Array("broken.arange(6, 'float32')", (6,), (2, 32, 1)),
            "complex64": Array("broken.arange(6, 'complex64')", (6,), (5, 64, 1)),
            "int4": Array("broken.asarray([0, 1, 2, 3, 4, 5], 'int4')", (6,), (0, 4, 1)),
            "int4 padded": Array("broken.asarray([0, 1, 2, 3, 4, 5], 'int4', padded=True)", (6,), (0, 4, 1)),
            "float4": Array("broken.asarray([0, 1, 2, 3], 'float4_e2m1fn')", (4,), (17, 4, 1)),
            "compact": Array("broken.arange(6).reshape(2, 3)", (2, 3), INT32),
            "transposed": Array(f"{SQUARE}.T", (6, 4), INT32),
            "inner block": Array(f"{SQUARE}[1:3, 2:5]", (2, 3), INT32, "DLTensor/byte-offset"),
            "reversed": Array(f"{SQUARE}[::-1, ::-1]", (4, 6), INT32, "DLTensor/inside-allocation"),
            "broadcast": Array("broken.arange(3).broadcast_to((2, 3))", (2, 3), INT32),
            "no rows": Array(f"{SQUARE}[:0]", (0, 6), INT32),
            "no dimensions": Array(f"{SQUARE}[1, 2:3].reshape()", (), INT32),
        },
        consume="broken.from_dlpack",
        standard=True,
        cpu="'cpu'",
        values="lambda array: array.tolist()",
        writable="lambda array: array.writable",
    )
