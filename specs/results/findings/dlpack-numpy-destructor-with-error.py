"""numpy.from_dlpack drops a capsule that it refuses with its exception pending: the capsule's destructor loses it."""

import ctypes
from ctypes import c_char_p, c_void_p, py_object

import numpy

New = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", ctypes.pythonapi))
Occurred = ctypes.PYFUNCTYPE(c_void_p)(("PyErr_Occurred", ctypes.pythonapi))
pending = []


def destroy(capsule):
    # ctypes raises what is pending behind a call.
    try:
        Occurred()
    except BaseException as error:
        pending.append(repr(error))


destructor = ctypes.PYFUNCTYPE(None, c_void_p)(destroy)


class Producer:
    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **keywords):
        return New(1, b"another name", destructor)


try:
    numpy.from_dlpack(Producer())
except BaseException as error:
    print(numpy.__version__, "the caller sees:", repr(error))
print("pending in the destructor:", pending)
