"""Pictures of an exchange: its sequence, the memory with the structs of ``dlpack.h``, and arrays with their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_model.memory import NULL
from capsule_model.show.pictures import memory
from capsule_model.show.pictures.draw import SMALL, Canvas, width_of
from capsule_model.show.pictures.facts import Field
from capsule_model.show.pictures.picture import Picture
from capsule_model.show.pictures.safe import safe
from capsule_model.show.pictures.sequence import sequence_picture as drawn
from dlpack_model.abi import DLDeviceType, Flags
from dlpack_model.sequences import told

if TYPE_CHECKING:
    from capsule_model import UndefinedBehavior
    from dlpack_model.abi import Codec, DLTensor
    from dlpack_model.arrays import Array
    from dlpack_model.exchange import Exchange
    from dlpack_model.tensor import Layout

__all__ = ["array_picture", "memory_picture", "names_of", "picture", "sequence_picture", "structs_of", "tensor_picture"]

MARGIN = 16
ROW = 20
CELL = 22
MOST_CELLS = 32
MOST_ROWS = 8
MOST_STRUCTS = 64
# The pointers among the scalar fields of the structs.
_POINTERS = frozenset({"data", "shape", "strides", "manager_ctx", "deleter"})


def sequence_picture(ex: Exchange, diagnosis: UndefinedBehavior | None = None) -> Picture:
    """Return the sequence diagram of what was exchanged, with a diagnosis below it where one is given."""
    return drawn(told(ex), "The exchange", diagnosis)


def memory_picture(ex: Exchange, diagnosis: UndefinedBehavior | None = None, *, most: int = 12) -> Picture:
    """Return the picture of the memory, with arrays by their names and managed tensors field by field."""
    return memory.memory_picture(ex.py, diagnosis, names=names_of(ex), structs=structs_of(ex), most=most)


def picture(ex: Exchange, address: int) -> Picture:
    """Return the picture of an array, or of whatever else is at an address; ``ValueError`` where nothing is."""
    array = ex.arrays.get(address)
    if array is not None:
        return array_picture(array, ex)
    return memory.object_picture(ex.py, address, names=names_of(ex), structs=structs_of(ex))


def names_of(ex: Exchange) -> dict[int, str]:
    """Return what to call the arrays and the exports of a process, by address."""
    names = {address: array.name for address, array in ex.arrays.items()}
    recent = list(ex.records.values())[-MOST_STRUCTS:]
    names |= {record.address: f"export {record.number}" for record in recent}
    for record in recent:
        names |= dict.fromkeys(record.capsules, f"capsule of export {record.number}")
    return names


def structs_of(ex: Exchange) -> dict[int, tuple[str, list[Field]]]:
    """Return the structs that lie in the blocks of a process: title and fields, by address."""
    found = {}
    for record in list(ex.live.values())[-MOST_STRUCTS:]:
        title = "DLManagedTensorVersioned" if record.versioned else "DLManagedTensor"
        codec = ex.abi.versioned if record.versioned else ex.abi.legacy
        fields = _fields(codec)
        ndim = len(record.array.layout.shape)
        fields += [Field(codec.behind + 8 * axis, 8, f"shape[{axis}]", True) for axis in range(ndim)]
        strides = codec.behind + 8 * ndim
        fields += [Field(strides + 8 * axis, 8, f"strides[{axis}]", True) for axis in range(ndim)]
        found[record.address] = title, fields[:32]
    return found


def _fields(codec: Codec) -> list[Field]:
    fields = []
    for name, (offset, kind) in codec.offsets.items():
        size, signed = codec.layout.scalar(kind)
        fields.append(Field(offset, size, name.removeprefix("dl_tensor."), signed, name.split(".")[-1] in _POINTERS))
    return fields


def _facts(array: Array) -> list[tuple[str, str]]:
    """Return what is said of an array, by name."""
    layout = array.layout
    device_type = layout.device[0]
    known = device_type in DLDeviceType.__members__.values()
    device = DLDeviceType(device_type).name if known else f"device type {device_type}"
    flags = " | ".join(flag.name or "" for flag in Flags if flag & array.flags)
    owner = "its own" if array.record is None else f"views export {array.record.number} of {array.record.producer}"
    return [
        ("dtype", safe(layout.dtype.name, 40)),
        ("shape", str(layout.shape)),
        ("strides", f"{layout.strides} elements"),
        ("device", f"{device}, {layout.device[1]}"),
        ("flags", flags or "none"),
        ("data", _address(array.data)),
        ("first element", _address(layout.address)),
        ("memory", owner),
    ]


def tensor_picture(tensor: DLTensor) -> Picture:
    """Return the picture of a ``DLTensor``: its fields, as they stand in memory."""
    shown = [(name, _address(value) if name in _POINTERS else str(value)) for name, value in tensor._asdict().items()]
    wide = max(len(name) for name, _ in shown)
    text = "\n".join(["DLTensor", *(f"    {name:<{wide}}  {value}" for name, value in shown)])
    canvas = Canvas("DLTensor", text)
    canvas.text(MARGIN, 26, "DLTensor", "title")
    _draw_facts(canvas, shown, 52)
    return Picture(canvas.svg(MARGIN), text)


def _address(value: int) -> str:
    return f"{value:#x}" if value else "NULL"


def _draw_facts(canvas: Canvas, facts: list[tuple[str, str]], y: float) -> float:
    for label, value in facts:
        canvas.text(MARGIN, y, label, "soft")
        canvas.text(MARGIN + 120, y, value)
        y += ROW
    return y


def array_picture(array: Array, ex: Exchange | None = None) -> Picture:
    """Return the picture of an array: what it says of itself, and its bytes with the element that begins at each.

    Without the exchange that it is part of, nobody knows its bytes.
    """
    facts = _facts(array)
    name = safe(array.name, 60)
    text = [f"{name}, an array of {safe(array.producer.name, 40)} at {array.address:#x}"]
    wide = max(len(label) for label, _ in facts)
    text += [f"    {label:<{wide}}  {value}" for label, value in facts]
    rows, more = ([], 0) if ex is None else _bytes_of(ex, array)
    for address, cells in rows:
        text.append(f"    {address:#x}  " + " ".join(byte for byte, _ in cells))
        text.append(" " * (4 + len(f"{address:#x}") + 2) + " ".join(f"{label:<2}"[:2] for _, label in cells).rstrip())
    text += [f"    … and {more} more bytes"] if more else []
    canvas = Canvas(f"{name}, an array", "\n".join(text))
    canvas.text(MARGIN, 26, name, "title")
    canvas.text(MARGIN, 43, f"an array of {safe(array.producer.name, 40)} at {array.address:#x}", "small soft")
    y = _draw_bytes(canvas, rows, _draw_facts(canvas, facts, 68) + 4)
    if more:
        canvas.text(MARGIN, y + 14, f"… and {more} more bytes", "small soft")
    return Picture(canvas.svg(MARGIN), "\n".join(text))


Cells = list[tuple[str, str]]


def _bytes_of(ex: Exchange, array: Array) -> tuple[list[tuple[int, Cells]], int]:
    """Return the first bytes of an array in rows of sixteen, with the elements that begin there; and how many more."""
    layout = array.layout
    low, high = layout.extent()
    start = layout.address + low
    block = ex.memory.nearest(start) if layout.address != NULL else None
    if block is None or block.died is not None or not block.address <= start <= block.address + block.size:
        return [], 0
    end = min(layout.address + high, block.address + block.size)
    begins = _begins(layout)
    count = min(end - start, 16 * MOST_ROWS)
    cells = []
    for address in range(start, start + count):
        offset = address - block.address
        defined = block.defined is None or (offset < len(block.defined) and block.defined[offset])
        cells.append((f"{block.data[offset]:02x}" if defined else "··", begins.get(address, "")))
    rows = [(start + place, cells[place : place + 16]) for place in range(0, count, 16)]
    return rows, max(end - start - count, 0)


def _begins(layout: Layout) -> dict[int, str]:
    """Return the addresses at which the first elements begin, with their place in row-major order."""
    begins: dict[int, str] = {}
    index = [0] * len(layout.shape)
    for place in range(min(layout.size, 16 * MOST_ROWS)):
        distance = sum(at * step for at, step in zip(index, layout.strides, strict=True))
        begins.setdefault(layout.address + distance * layout.bit_stride // 8, str(place))
        for axis in reversed(range(len(index))):
            index[axis] += 1
            if index[axis] < layout.shape[axis]:
                break
            index[axis] = 0
    return begins


def _draw_bytes(canvas: Canvas, rows: list[tuple[int, Cells]], y: float) -> float:
    """Draw bytes in cells; where an element begins, its place stands above and a thicker edge on the left."""
    if not rows:
        return y
    canvas.text(MARGIN, y + 10, "bytes, with the place of the element that begins there", "small soft")
    left = MARGIN + max(width_of(f"{address:#x}", SMALL) for address, _ in rows) + 16
    y += 20
    for address, cells in rows:
        canvas.text(MARGIN, y + 29, f"{address:#x}", "small soft")
        for place, (byte, label) in enumerate(cells):
            x = left + CELL * place
            canvas.rect(x, y + 14, CELL, CELL, "box", rx=0)
            if label:
                canvas.rect(x, y + 14, 3, CELL, "tip", rx=0)
                canvas.text(x + 1, y + 11, label, "small blue")
            canvas.text(x + CELL / 2 + 1, y + 29, byte, "small", anchor="middle")
        y += 44
    return y
