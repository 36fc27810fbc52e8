"""torch.from_dlpack calls the deleter of a tensor on OpenCL, raises, and leaves the capsule to delete it again."""

import ctypes
from ctypes import c_char_p, c_int32, c_int64, c_uint8, c_uint16, c_uint64, c_void_p, py_object

import torch


class DLTensor(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("device_type", c_int32), ("device_id", c_int32), ("ndim", c_int32)]
    _fields_ += [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]
    _fields_ += [("shape", c_void_p), ("strides", c_void_p), ("byte_offset", c_uint64)]


class DLManagedTensor(ctypes.Structure):
    _fields_ = [("dl_tensor", DLTensor), ("manager_ctx", c_void_p), ("deleter", c_void_p)]


calls = []
Deleter = ctypes.CFUNCTYPE(None, c_void_p)
deleter = Deleter(lambda managed: calls.append("deleter"))
Destructor = ctypes.PYFUNCTYPE(None, c_void_p)
GetName = ctypes.PYFUNCTYPE(c_char_p, c_void_p)(("PyCapsule_GetName", ctypes.pythonapi))
New = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", ctypes.pythonapi))

shape, strides, data = (c_int64 * 1)(4), (c_int64 * 1)(1), (ctypes.c_float * 4)()
address = [ctypes.addressof(x) for x in (data, shape, strides)]
OPENCL, FLOAT = 4, 2
tensor = DLTensor(address[0], OPENCL, 0, 1, FLOAT, 32, 1, address[1], address[2], 0)
managed = DLManagedTensor(tensor, None, ctypes.cast(deleter, c_void_p).value)


def destroy(capsule):
    name = GetName(capsule)
    calls.append(f"destructor of {name.decode()}")
    # What every producer does: a capsule that was not renamed was not consumed.
    if name == b"dltensor":
        Deleter(managed.deleter)(ctypes.addressof(managed))


destructor = Destructor(destroy)


class Producer:
    def __dlpack_device__(self):
        return OPENCL, 0

    def __dlpack__(self, **keywords):
        return New(ctypes.addressof(managed), b"dltensor", destructor)


try:
    torch.from_dlpack(Producer())
except Exception as error:
    print(type(error).__name__, str(error).partition("\n")[0])
print(torch.__version__, calls, f"{calls.count('deleter')} deleter calls for one tensor")
