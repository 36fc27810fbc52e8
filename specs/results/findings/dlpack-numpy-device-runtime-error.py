"""numpy.from_dlpack refuses a device that it does not support with RuntimeError, where BufferError is asked for."""

import ctypes
from ctypes import c_char_p, c_int32, c_int64, c_uint8, c_uint16, c_uint64, c_void_p, py_object

import numpy


class DLTensor(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("device_type", c_int32), ("device_id", c_int32), ("ndim", c_int32)]
    _fields_ += [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]
    _fields_ += [("shape", c_void_p), ("strides", c_void_p), ("byte_offset", c_uint64)]


class DLManagedTensor(ctypes.Structure):
    _fields_ = [("dl_tensor", DLTensor), ("manager_ctx", c_void_p), ("deleter", c_void_p)]


New = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", ctypes.pythonapi))
CUDA, FLOAT = 2, 2
shape, strides = (c_int64 * 1)(4), (c_int64 * 1)(1)
tensor = DLTensor(4096, CUDA, 0, 1, FLOAT, 32, 1, ctypes.addressof(shape), ctypes.addressof(strides), 0)
managed = DLManagedTensor(tensor, None, None)


class Producer:
    def __dlpack_device__(self):
        return CUDA, 0

    def __dlpack__(self, **keywords):
        return New(ctypes.addressof(managed), b"dltensor", None)


try:
    numpy.from_dlpack(Producer())
except Exception as error:
    print(numpy.__version__, repr(error))
