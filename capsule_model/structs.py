"""C structs in simulated memory: their layout on a machine, and views that read and write fields by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capsule_model.memory import Memory

__all__ = ["Struct", "StructView"]

# Size in bytes and signedness of the C types of a fixed size.
FIXED = {f"{sign}int{bits}_t": (bits // 8, sign == "") for bits in (8, 16, 32, 64) for sign in ("", "u")}
# Those of one machine word.
WORDS = {"pointer": False, "size_t": False, "Py_ssize_t": True}


class Struct:
    """Lay a C struct out with natural alignment.

    ``fields`` are pairs of a name and a C type (``int32_t``, ``uint8_t``, …, ``pointer``, ``size_t``,
    ``Py_ssize_t``) or another ``Struct``; ``word`` is the machine's word in bytes, ``most`` the largest alignment that
    its ABI gives to a scalar (4 on i386, where an ``int64_t`` in a struct is aligned to 4). ``offsets`` and ``size``
    are in bytes; ``ValueError`` names a type that is not known.
    """

    def __init__(self, word: int, most: int = 8, /, **fields: str | Struct) -> None:
        self.word = word
        self.most = most
        self.fields = fields
        self.offsets: dict[str, int] = {}
        self.alignment = 1
        end = 0
        for name, kind in fields.items():
            size, alignment = self._size_of(kind)
            end += -end % alignment
            self.offsets[name] = end
            self.alignment = max(self.alignment, alignment)
            end += size
        self.size = end + -end % self.alignment

    def _size_of(self, kind: str | Struct) -> tuple[int, int]:
        if isinstance(kind, Struct):
            return kind.size, kind.alignment
        size = self.scalar(kind)[0]
        return size, min(size, self.most)

    def scalar(self, kind: str) -> tuple[int, bool]:
        """Return the size of a C type in bytes, and whether it is signed."""
        if kind in WORDS:
            return self.word, WORDS[kind]
        if kind not in FIXED:
            raise ValueError(f"unknown C type {kind!r}: expected one of {', '.join([*FIXED, *WORDS])}")
        return FIXED[kind]


class StructView:
    """Read and write the fields of a struct at an address; every access is checked by the memory.

    A field that is a struct is a view itself. A name that is no field is a ``KeyError``.
    """

    def __init__(self, memory: Memory, struct: Struct, address: int) -> None:
        self.memory = memory
        self.struct = struct
        self.address = address

    def __getitem__(self, name: str) -> int | StructView:
        """Return the value of a field, or a view of it where it is a struct."""
        kind, address = self.struct.fields[name], self.address + self.struct.offsets[name]
        if isinstance(kind, Struct):
            return StructView(self.memory, kind, address)
        return self.memory.load(address, *self.struct.scalar(kind))

    def __setitem__(self, name: str, value: int) -> None:
        """Write a field; a value that does not fit its type is an ``OverflowError``."""
        kind, address = self.struct.fields[name], self.address + self.struct.offsets[name]
        if isinstance(kind, Struct):
            raise TypeError(f"{name} is a struct: write its fields")
        self.memory.store(address, value, *self.struct.scalar(kind))
