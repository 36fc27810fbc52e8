"""One simulated process with all its functions: the face of the model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from capsule_model import attributes, capsule, collector, errors, imports, layout, python_view, runtime
from capsule_model.process import Process
from capsule_model.profiles import Profile, profile_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capsule_model.show.pictures.picture import Picture
    from capsule_model.undefined import UndefinedBehavior

__all__ = ["Interpreter"]


class Interpreter(Process):
    """Simulate a process that runs one CPython.

    ``profile`` is a profile or its name, such as ``cpython-3.13``. Pointers are integers, NULL is 0. The C
    functions return what C returns and set the error indicator, ``error``; undefined behaviour raises
    ``UndefinedBehavior``, and what ends the process of a debug build raises ``Abort``. A pointer is not checked to
    be a word of the machine: what is stored is what is given.
    """

    def __init__(self, profile: Profile | str = "cpython-3.13") -> None:
        super().__init__(profile_named(profile) if isinstance(profile, str) else profile)
        self.memory.structs = partial(layout.struct_access, self)

    def read(self, address: int, size: int) -> bytes:
        """Return bytes of memory: of a block, or of a capsule's struct."""
        return self.memory.read(address, size)

    def write(self, address: int, value: bytes) -> None:
        """Write bytes to memory: to a block, or to a capsule's struct behind the API's back."""
        self.memory.write(address, value)

    def end_thread(self, name: str) -> None:
        """End a thread: its exception goes, and it merges the counts that wait for it, which may run destructors.

        Afterwards whoever gives back a reference to what it owned merges the count. Raises ``ValueError`` for the
        first thread, for the running one, and for one that does not exist. Source: Python/pystate.c:1748 (3.13.5).
        """
        here = self.thread
        if name in ("", here) or name not in self.queues:
            raise ValueError(f"thread {name!r} cannot be ended: expected one that was started and is not running")
        self.switch_thread(name)
        self.PyErr_Clear()
        self.handle_pending()
        self.switch_thread(here)
        del self.errors[name], self.queues[name]

    def picture(self, address: int, *, names: Mapping[int, str] | None = None) -> Picture:
        """Return the picture of one capsule, object, block or function, and of what its words point to.

        ``names`` are those that the reader knows addresses by. ``ValueError`` where nothing is or was at the address.
        """
        from capsule_model.show.pictures.memory import object_picture

        return object_picture(self, address, names=names)

    def memory_picture(
        self, diagnosis: UndefinedBehavior | None = None, *, names: Mapping[int, str] | None = None, most: int = 12
    ) -> Picture:
        """Return the picture of the memory: objects and blocks, dead or alive, and arrows from words to what they name.

        With a ``diagnosis``, what that is about stands out. ``most`` objects, and as many blocks, are shown.
        """
        from capsule_model.show.pictures.memory import memory_picture

        return memory_picture(self, diagnosis, names=names, most=most)

    def _repr_html_(self) -> str:
        """Show the memory in a notebook."""
        return self.memory_picture()._repr_html_()

    def _repr_svg_(self) -> str:
        """Show the memory in a notebook."""
        return self.memory_picture()._repr_svg_()

    def __str__(self) -> str:
        """Show the memory in a terminal."""
        return str(self.memory_picture())

    PyCapsule_New = capsule.PyCapsule_New
    PyCapsule_CheckExact = capsule.PyCapsule_CheckExact
    PyCapsule_IsValid = capsule.PyCapsule_IsValid
    PyCapsule_GetPointer = capsule.PyCapsule_GetPointer
    PyCapsule_GetName = capsule.PyCapsule_GetName
    PyCapsule_GetDestructor = capsule.PyCapsule_GetDestructor
    PyCapsule_GetContext = capsule.PyCapsule_GetContext
    PyCapsule_SetPointer = capsule.PyCapsule_SetPointer
    PyCapsule_SetName = capsule.PyCapsule_SetName
    PyCapsule_SetDestructor = capsule.PyCapsule_SetDestructor
    PyCapsule_SetContext = capsule.PyCapsule_SetContext
    _PyCapsule_SetTraverse = capsule._PyCapsule_SetTraverse
    PyCapsule_Import = imports.PyCapsule_Import
    PyImport_ImportModule = imports.PyImport_ImportModule

    Py_INCREF = runtime.Py_INCREF
    Py_DECREF = runtime.Py_DECREF
    Py_IncRef = runtime.Py_IncRef
    Py_DecRef = runtime.Py_DecRef
    Py_REFCNT = runtime.Py_REFCNT
    handle_pending = runtime.handle_pending

    PyErr_SetString = errors.PyErr_SetString
    PyErr_Clear = errors.PyErr_Clear
    PyErr_NoMemory = errors.PyErr_NoMemory
    PyErr_Occurred = errors.PyErr_Occurred
    PyErr_WriteUnraisable = errors.PyErr_WriteUnraisable

    PyObject_GetAttrString = attributes.PyObject_GetAttrString
    PyObject_SetAttrString = attributes.PyObject_SetAttrString
    PyObject_Repr = python_view.PyObject_Repr
    PyObject_Str = python_view.PyObject_Repr
    PyObject_Hash = python_view.PyObject_Hash
    PyObject_RichCompare = python_view.PyObject_RichCompare
    PyObject_IsTrue = python_view.PyObject_IsTrue
    PyObject_Size = python_view.PyObject_Size
    PyObject_Call = python_view.PyObject_Call
    PyObject_IsInstance = python_view.PyObject_IsInstance
    subclass = python_view.subclass
    pickle_object = python_view.pickle_object
    weakref_ref = python_view.weakref_ref
    sys_getsizeof = python_view.sys_getsizeof
    types_CapsuleType = python_view.types_CapsuleType

    capsule_words = layout.capsule_words
    capsule_bytes = layout.capsule_bytes
    poke = layout.poke

    gc_collect = collector.gc_collect
    gc_is_tracked = collector.gc_is_tracked
    gc_get_referents = collector.gc_get_referents
