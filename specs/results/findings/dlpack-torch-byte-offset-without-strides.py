"""torch.from_dlpack refuses a compact tensor that says its place by byte_offset and leaves its strides NULL."""

import ctypes
from ctypes import c_char_p, c_int32, c_int64, c_uint8, c_uint16, c_uint64, c_void_p, py_object

import torch


class DLTensor(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("device_type", c_int32), ("device_id", c_int32), ("ndim", c_int32)]
    _fields_ += [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]
    _fields_ += [("shape", c_void_p), ("strides", c_void_p), ("byte_offset", c_uint64)]


class DLManagedTensor(ctypes.Structure):
    _fields_ = [("dl_tensor", DLTensor), ("manager_ctx", c_void_p), ("deleter", c_void_p)]


New = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", ctypes.pythonapi))
CPU, FLOAT = 1, 2
data = (ctypes.c_float * 8)(*range(8))
shape, strides = (c_int64 * 1)(4), (c_int64 * 1)(1)


def tensor_with(strides, byte_offset):
    steps = None if strides is None else ctypes.addressof(strides)
    tensor = DLTensor(ctypes.addressof(data), CPU, 0, 1, FLOAT, 32, 1, ctypes.addressof(shape), steps, byte_offset)
    managed = DLManagedTensor(tensor, None, None)
    kept.append(managed)
    return managed


kept = []


class Producer:
    def __init__(self, managed):
        self.managed = managed

    def __dlpack_device__(self):
        return CPU, 0

    def __dlpack__(self, **keywords):
        return New(ctypes.addressof(self.managed), b"dltensor", None)


print(torch.__version__)
for told, steps, offset in (("offset 0", None, 0), ("strides and offset 16", strides, 16), ("offset 16", None, 16)):
    try:
        print(told, torch.from_dlpack(Producer(tensor_with(steps, offset))))
    except Exception as error:
        print(told, type(error).__name__, str(error).partition("\n")[0])
