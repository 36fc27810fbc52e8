"""A table of C functions that one extension publishes and others import: the reason why capsules exist.

The table is ``struct { uint32_t abi; uint32_t api; size_t size; void (*slots[])(void); }``. ``abi`` changes when old
users break, ``api`` when functions are added at the end, and ``size`` says how many bytes are there. NumPy compares
the first two (``_ARRAY_API``), pyexpat the last (``expat_CAPI``), and ``datetime_CAPI`` has none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from capsule_model.layers.functions import call
from capsule_model.memory import NULL

if TYPE_CHECKING:
    from capsule_model.interpreter import Interpreter

__all__ = ["CHECKS", "call_slot", "import_table", "new_table", "publish", "table_size"]

CHECKS = ("abi", "api", "size")


def table_size(py: Interpreter, slots: int) -> int:
    """Return the size in bytes of a table with that many slots."""
    return 8 + (1 + slots) * py.profile.word


def new_table(py: Interpreter, functions: Sequence[int], abi: int, api: int, size: int = 0) -> int:
    """Write a table into a block of its own and return the address; ``size`` 0 stands for the true one."""
    word, true = py.profile.word, table_size(py, len(functions))
    table = py.malloc(true)
    py.memory.store(table, abi, 4, False)
    py.memory.store(table + 4, api, 4, False)
    py.memory.store_word(table + 8, size or true)
    for slot, function in enumerate(functions):
        py.memory.store_word(table + 8 + (1 + slot) * word, function)
    return table


def publish(py: Interpreter, name: int, table: int, destructor: int = NULL) -> int:
    """Put a table into a capsule and return a new reference; ``name`` must be ``module.attribute`` to be imported.

    Without a destructor the table is taken to live as long as the process: whoever imported it keeps its address,
    and no reference.
    """
    # rule: function-table/lives-as-long-as-the-process
    return py.PyCapsule_New(table, name, destructor)


def import_table(py: Interpreter, name: int, abi: int, api: int, slots: int, checks: Collection[str] = CHECKS) -> int:
    """Import a table and return its address, or NULL with ``RuntimeError`` where it is not what the importer needs.

    ``abi``, ``api`` and ``slots`` are what the importer was compiled for; ``checks`` names those that it makes.
    """
    # rule: function-table/name-is-all-that-is-checked
    table = py.PyCapsule_Import(name, 0)
    if table == NULL:
        # rule: function-table/import-fails
        return NULL
    if "abi" in checks and py.memory.load(table, 4, False) != abi:
        # rule: function-table/abi-must-be-equal
        py.PyErr_SetString("RuntimeError", "compiled for another ABI version of the table")
        return NULL
    if "api" in checks and py.memory.load(table + 4, 4, False) < api:
        # rule: function-table/api-must-not-be-older
        py.PyErr_SetString("RuntimeError", "compiled for a newer API version of the table")
        return NULL
    if "size" in checks and py.memory.load_word(table + 8) < table_size(py, slots):
        # rule: function-table/size-must-cover
        py.PyErr_SetString("RuntimeError", "the table is smaller than the importer's")
        return NULL
    # rule: function-table/newer-is-accepted
    return table


def call_slot(py: Interpreter, table: int, slot: int, type: str, *arguments: int) -> int:
    """Call a function of a table as C does: whatever lies there is taken for a function of that type."""
    # rule: function-table/slot-beyond-the-end
    function = py.memory.load_word(table + 8 + (1 + slot) * py.profile.word)
    # rule: function-table/calls-what-is-there
    return call(py, function, type, *arguments)
