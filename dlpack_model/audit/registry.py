"""The libraries that can be audited: how arrays are made, which function imports, how a result is read.

All of it is Python code in text, since the script of a finding is written with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

__all__ = ["LIBRARIES", "Array", "Library", "library_named"]


@dataclass(frozen=True, slots=True)
class Array:
    """An array that a library can make: code, shape, and the element type as code, bits, lanes.

    ``rule`` is the one that is broken where its elements are not where its struct says.
    """

    code: str
    shape: tuple[int, ...]
    dtype: tuple[int, int, int]
    rule: str = "from_dlpack/same-values"


@dataclass(frozen=True, slots=True)
class Library:
    """How one library is used.

    ``setup`` are statements; everything else are expressions, empty where the library does not have it. ``make`` is an
    array of 0 to 5 as int32 in the shape ``shape``, ``large`` one of 1 MiB, made anew; ``readonly`` and ``swapped`` are
    arrays that must not be written to, and in the other byte order, ``padded`` one of elements of less than a byte that
    take a byte each; ``arrays`` are more, by name. ``consume`` is a
    function of an object and, where ``standard``, of ``device`` and ``copy``; ``cpu`` is what it takes for the CPU.
    ``values`` and ``writable`` are functions of an array of the library. ``version`` is an expression, too. A
    ``carrier`` hands elements on and does not look at them; an ``untyped`` result has neither shape nor type.
    """

    name: str
    setup: str
    version: str
    make: str = ""
    shape: tuple[int, ...] = (2, 3)
    large: str = ""
    readonly: str = ""
    swapped: str = ""
    padded: str = ""
    arrays: Mapping[str, Array] = field(default_factory=dict)
    consume: str = ""
    standard: bool = False
    cpu: str = ""
    values: str = ""
    writable: str = ""
    carrier: bool = False
    untyped: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        """Return what the library can be."""
        return ("producer",) * bool(self.make) + ("consumer",) * bool(self.consume)


REACH = "DLTensor/inside-allocation"
# Name, code, bits of the types that many libraries call the same.
_TYPES = {
    **{f"{sign}int{bits}": (code, bits, 1) for code, sign in ((0, ""), (1, "u")) for bits in (8, 16, 32, 64)},
    **{f"float{bits}": (2, bits, 1) for bits in (16, 32, 64)},
    **{f"complex{bits}": (5, bits, 1) for bits in (64, 128)},
}
_MORE_TYPES = {
    "bfloat16": (4, 16, 1),
    "float8_e4m3fn": (10, 8, 1),
    "float8_e4m3fnuz": (11, 8, 1),
    "float8_e5m2": (12, 8, 1),
    "float8_e5m2fnuz": (13, 8, 1),
}


def _of_types(code: str, names: Sequence[str]) -> dict[str, Array]:
    """Make an array of 0 to 5 of each type; ``code`` has ``TYPE`` where its name belongs."""
    types = _TYPES | _MORE_TYPES | {"bool": (6, 8, 1)}
    return {name: Array(code.replace("TYPE", name), (6,), types[name]) for name in names}


def _layouts(square: str, permute: str = ".T", **others: str) -> dict[str, Array]:
    """Make views of ``square``, an array of 0 to 23 as int32 (4, 6)."""
    int32 = (0, 32, 1)
    return {
        "transposed": Array(others.get("transposed", f"{square}{permute}"), (6, 4), int32),
        "every second column": Array(f"{square}[:, ::2]", (4, 3), int32),
        "inner block": Array(f"{square}[1:3, 2:5]", (2, 3), int32, "DLTensor/byte-offset"),
        "one row": Array(f"{square}[2]", (6,), int32, "DLTensor/byte-offset"),
        "no rows": Array(f"{square}[:0]", (0, 6), int32),
        "no dimensions": Array(others.get("no_dimensions", f"{square}[1, 2]"), (), int32),
    }


_NUMPY = Library(
    "numpy",
    "import numpy",
    "numpy.__version__",
    make="numpy.arange(6, dtype='int32').reshape(2, 3)",
    large="numpy.ones(1 << 20, dtype='uint8')",
    readonly="numpy.broadcast_to(numpy.int32(1), (2, 3))",
    swapped="numpy.arange(6, dtype=numpy.dtype('int32').newbyteorder())",
    arrays={
        **_of_types("numpy.arange(6).astype('TYPE')", [*_TYPES, "bool"]),
        **_layouts("numpy.arange(24, dtype='int32').reshape(4, 6)", no_dimensions="numpy.array(7, dtype='int32')"),
        "reversed": Array("numpy.arange(24, dtype='int32').reshape(4, 6)[::-1, ::-1]", (4, 6), (0, 32, 1), REACH),
        "broadcast": Array("numpy.broadcast_to(numpy.arange(3, dtype='int32'), (2, 3))", (2, 3), (0, 32, 1)),
        "misaligned": Array("numpy.frombuffer(bytes(range(25)), 'int32', offset=1)", (6,), (0, 32, 1)),
    },
    consume="numpy.from_dlpack",
    standard=True,
    cpu="'cpu'",
    values="lambda array: array.tolist()",
    writable="lambda array: array.flags.writeable",
)

_TORCH_SQUARE = "torch.arange(24, dtype=torch.int32).reshape(4, 6)"
_TORCH = Library(
    "torch",
    "import torch",
    "torch.__version__.partition('+')[0]",
    make="torch.arange(6, dtype=torch.int32).reshape(2, 3)",
    large="torch.ones(1 << 20, dtype=torch.uint8)",
    arrays={
        **_of_types("torch.arange(6).to(torch.TYPE)", [*_TYPES, *_MORE_TYPES, "bool"]),
        **_layouts(_TORCH_SQUARE),
        "expanded": Array("torch.arange(3, dtype=torch.int32).expand(2, 3)", (2, 3), (0, 32, 1)),
        "conjugated lazily": Array("torch.tensor([1 + 2j, 3 - 4j]).conj()", (2,), (5, 64, 1)),
        "negated lazily": Array("torch.tensor([1 + 2j, 3 - 4j]).conj().imag", (2,), (2, 32, 1)),
        "requires grad": Array("torch.arange(6, dtype=torch.float32, requires_grad=True)", (6,), (2, 32, 1)),
        "float4 pairs": Array(
            "torch.tensor([0x21, 0x43, 0x65], dtype=torch.uint8).view(torch.float4_e2m1fn_x2)", (3,), (17, 4, 2)
        ),
    },
    consume="torch.from_dlpack",
    standard=True,
    cpu="'cpu'",
    # There is no list of small floats; each is a float32 as well.
    values="lambda tensor: (tensor.float() if tensor.is_floating_point() else tensor).tolist()",
)

_JAX = Library(
    "jax",
    "import jax\nimport jax.numpy",
    "jax.__version__",
    make="jax.numpy.arange(6, dtype='int32').reshape(2, 3)",
    large="jax.numpy.ones(1 << 20, dtype='uint8')",
    readonly="jax.numpy.arange(6, dtype='int32')",
    arrays={
        **_of_types(
            "jax.numpy.arange(6).astype('TYPE')",
            [
                name
                for name in (*_TYPES, *_MORE_TYPES, "bool")
                if name not in ("int64", "uint64", "float64", "complex128")
            ],
        ),
        "int4": Array("jax.numpy.arange(6).astype('int4')", (6,), (0, 4, 1)),
        "uint4": Array("jax.numpy.arange(6).astype('uint4')", (6,), (1, 4, 1)),
        "float4_e2m1fn": Array("jax.numpy.arange(6).astype('float4_e2m1fn')", (6,), (17, 4, 1)),
        **_layouts("jax.numpy.arange(24, dtype='int32').reshape(4, 6)"),
    },
    consume="jax.dlpack.from_dlpack",
    standard=True,
    cpu="jax.devices('cpu')[0]",
    # A list cannot be had of every type that is not NumPy's.
    values="lambda array: (array if array.dtype.kind in 'biufc' else array.astype('float32')).tolist()",
)

_TENSORFLOW = Library(
    "tensorflow",
    "import os\nos.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'\nimport tensorflow as tf",
    "tf.__version__",
    make="tf.reshape(tf.range(6), (2, 3))",
    large="tf.ones(1 << 20, dtype='uint8')",
    readonly="tf.range(6)",
    arrays={
        **_of_types("tf.cast(tf.range(6), tf.TYPE)", [*_TYPES, "bfloat16", "bool"]),
        **_layouts("tf.reshape(tf.range(24), (4, 6))", transposed="tf.transpose(tf.reshape(tf.range(24), (4, 6)))"),
    },
    # It takes capsules alone.
    consume="lambda x: tf.experimental.dlpack.from_dlpack(x.__dlpack__())",
    values="lambda tensor: tensor.numpy().tolist()",
)

_TVM = Library(
    "apache-tvm-ffi",
    "import tvm_ffi",
    "tvm_ffi.__version__",
    # It has no arrays of its own; what it imported it exports.
    make="tvm_ffi.from_dlpack(Simple())",
    consume="tvm_ffi.from_dlpack",
    values="elements",
    carrier=True,
)

_PYARROW = Library(
    "pyarrow",
    "import pyarrow",
    "pyarrow.__version__",
    make="pyarrow.array(range(6), 'int32')",
    shape=(6,),
    large="pyarrow.repeat(pyarrow.scalar(1, 'uint8'), 1 << 20)",
    readonly="pyarrow.array(range(6), 'int32')",
    arrays={
        **_of_types("pyarrow.array(range(6), 'TYPE')", [name for name in _TYPES if "int" in name]),
        "float32": Array("pyarrow.array([0.0, 1.0, 2.0], 'float32')", (3,), (2, 32, 1)),
        "float64": Array("pyarrow.array([0.0, 1.0, 2.0], 'float64')", (3,), (2, 64, 1)),
        "slice": Array("pyarrow.array(range(9), 'int32')[2:8]", (6,), (0, 32, 1)),
        "nothing": Array("pyarrow.array([], 'int32')", (0,), (0, 32, 1)),
    },
    consume="pyarrow.Tensor.from_dlpack",
    standard=True,
    cpu="(1, 0)",
    values="lambda array: (array.to_numpy() if isinstance(array, pyarrow.Tensor) else array).tolist()",
    writable="lambda array: array.is_mutable",
)

_MLX = Library(
    "mlx",
    "import mlx.core as mx",
    "mx.__version__",
    make="mx.arange(6, dtype=mx.int32).reshape(2, 3)",
    large="mx.ones((1 << 20,), dtype=mx.uint8)",
    arrays={
        **_of_types("mx.arange(6).astype(mx.TYPE)", [name for name in _TYPES if name not in ("float64", "complex128")]),
        **_of_types("mx.arange(6).astype(mx.TYPE)", ["bfloat16"]),
        "bool": Array("mx.arange(6).astype(mx.bool_)", (6,), (6, 8, 1)),
        **_layouts("mx.arange(24, dtype=mx.int32).reshape(4, 6)"),
    },
    consume="mx.from_dlpack",
    standard=True,
    values="lambda array: array.tolist()",
)

_WARP = Library(
    "warp",
    "import warp as wp\nwp.config.quiet = True",
    "wp.__version__",
    make="wp.array([[0, 1, 2], [3, 4, 5]], dtype=wp.int32, device='cpu')",
    large="wp.ones(1 << 20, dtype=wp.uint8, device='cpu')",
    arrays={
        **_of_types(
            "wp.array(range(6), dtype=wp.TYPE, device='cpu')", [name for name in _TYPES if "complex" not in name]
        ),
        "bool": Array("wp.array([0, 1, 1, 0], dtype=wp.bool, device='cpu')", (4,), (6, 8, 1)),
        **_layouts(
            "wp.array([[6 * i + j for j in range(6)] for i in range(4)], dtype=wp.int32, device='cpu')",
            permute=".transpose()",
            no_dimensions="wp.array(8, dtype=wp.int32, ndim=0, device='cpu')",
        ),
    },
    consume="lambda x: wp.init() or wp.from_dlpack(x)",
    values="lambda array: array.numpy().tolist()",
)

_MPI4PY = Library(
    "mpi4py",
    "import mpi4py\nmpi4py.rc.initialize = False\nfrom mpi4py import MPI",
    "mpi4py.__version__",
    # It takes what it will send, and has no arrays.
    consume="MPI.buffer",
    values="lambda buffer: memoryview(buffer).cast('i', (2, 3)).tolist()",
    carrier=True,
    untyped=True,
)

_PADDLE_SQUARE = "paddle.arange(24, dtype='int32').reshape([4, 6])"
_PADDLE = Library(
    "paddle",
    "import paddle",
    "paddle.__version__",
    make="paddle.arange(6, dtype='int32').reshape([2, 3])",
    large="paddle.ones([1 << 20], dtype='uint8')",
    arrays={
        **_of_types(
            "paddle.arange(6).astype('TYPE')",
            [name for name in (*_TYPES, "bfloat16", "bool") if name not in ("uint16", "uint32", "uint64")],
        ),
        **_layouts(_PADDLE_SQUARE, permute=".transpose([1, 0])"),
    },
    consume="paddle.from_dlpack",
    standard=True,
    cpu="paddle.CPUPlace()",
    # The lists of what NumPy does not have are lists of bits.
    values="lambda tensor: (tensor.astype('float32') if 'float' in str(tensor.dtype) else tensor).tolist()",
)

LIBRARIES: Mapping[str, Library] = {
    library.name: library
    for library in (_NUMPY, _TORCH, _JAX, _TENSORFLOW, _TVM, _PYARROW, _MLX, _WARP, _MPI4PY, _PADDLE)
}
# What else they are called.
ALIASES = {
    "tvm_ffi": "apache-tvm-ffi",
    "warp-lang": "warp",
    "paddlepaddle": "paddle",
    "tf": "tensorflow",
    "mlx.core": "mlx",
}


def library_named(name: str, *, here: bool = True) -> Library:
    """Return the description of a library; ``ValueError`` with one line where there is none.

    A module that nothing is known of is audited by the names that the array API standard gives. ``here`` tells whether
    this Python is the one that has it.
    """
    known = LIBRARIES.get(ALIASES.get(name, name))
    if known is not None:
        return known
    if all(part.isidentifier() for part in name.split(".")) and (not here or _exists(name)):
        return _unknown(name)
    raise ValueError(f"no library {name[:60]!r}: expected {', '.join(LIBRARIES)}, or a module that has from_dlpack")


def _exists(module: str) -> bool:
    """Tell whether a module can be imported."""
    try:
        return find_spec(module) is not None
    except Exception:
        # A package is imported to look into it, and may raise anything.
        return False


def _unknown(module: str) -> Library:
    """Describe a module by the names of the array API standard; what it does not have cannot be asked."""
    arrays = f"{module}.reshape({module}.arange(6, dtype={module}.int32), (2, 3))"
    return Library(
        module,
        f"import {module}",
        f"getattr({module}, '__version__', '?')",
        make=f"{arrays} if hasattr({module}, 'arange') else {module}.from_dlpack(Simple())",
        large=f"{module}.ones((1 << 20,), dtype={module}.uint8)",
        consume=f"{module}.from_dlpack",
        standard=True,
        values="lambda array: array.tolist() if hasattr(array, 'tolist') else elements(array)",
    )
