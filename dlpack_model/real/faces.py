"""The faces of the real libraries: how each is called, and how a result of its own is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["Face", "face_of"]


@dataclass(frozen=True, slots=True)
class Face:
    """One imported library.

    ``version`` is its own, ``device`` turns device type and number into what it takes for ``device``. Of a result,
    ``values`` are the elements in row-major order (None: out of reach), ``address`` is where the first lies, and
    ``writeable`` whether it may be written to (None: the library does not tell). ``settle`` waits until nothing is
    being computed any more, ``patience`` is how many seconds the library may then take to give back what it holds.
    """

    version: str
    from_dlpack: Callable[..., Any]
    device: Callable[[tuple[int, int]], Any]
    values: Callable[[Any], list[Any] | None]
    address: Callable[[Any], int]
    writeable: Callable[[Any], bool] | None = None
    settle: Callable[[Any], object] = lambda result: None
    patience: float = 0.0


def _numpy() -> Face:
    numpy = import_module("numpy")
    return Face(
        numpy.__version__,
        numpy.from_dlpack,
        lambda device: "cpu",
        lambda array: array.ravel().tolist(),
        lambda array: int(array.__array_interface__["data"][0]),
        lambda array: bool(array.flags.writeable),
    )


def _torch() -> Face:
    torch = import_module("torch")

    def values(tensor: Any) -> list[Any] | None:
        # Pairs of 4-bit numbers have no list either, nor a conversion.
        if tensor.device.type != "cpu" or tensor.dtype == getattr(torch, "float4_e2m1fn_x2", None):
            return None
        # NumPy is not asked, and a list of float8 cannot be had: every such number is a float32 as well.
        plain = tensor.float() if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor
        return plain.reshape(-1).tolist()  # type: ignore[no-any-return]

    return Face(
        torch.__version__.partition("+")[0],
        torch.from_dlpack,
        lambda device: torch.device("cpu"),
        values,
        lambda tensor: int(tensor.data_ptr()),
    )


def _jax() -> Face:
    jax = import_module("jax")
    dlpack = import_module("jax.dlpack")
    numpy = import_module("numpy")

    def values(array: Any) -> list[Any]:
        # NumPy has no more than 64 dimensions.
        held = numpy.array(array if array.ndim <= 64 else array.reshape(-1), copy=True)
        # A type that NumPy does not have has no list of numbers either.
        return (held.astype("float32") if held.dtype.kind == "V" else held).ravel().tolist()  # type: ignore[no-any-return]

    return Face(
        jax.__version__,
        dlpack.from_dlpack,
        lambda device: jax.devices("cpu")[device[1]],
        values,
        lambda array: int(array.unsafe_buffer_pointer()),
        settle=lambda array: array.block_until_ready(),
        # It has threads of its own.
        patience=0.02,
    )


_FACES = {"numpy": _numpy, "torch": _torch, "jax": _jax}


def face_of(module: str) -> Face:
    """Import a library and return its face; ``ModuleNotFoundError`` where it is not installed."""
    return _FACES[module]()
