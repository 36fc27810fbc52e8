"""An array that jax.dlpack.from_dlpack makes of a tensor whose deleter is NULL ends the process when it dies."""

import ctypes
from ctypes import c_char_p, c_int32, c_int64, c_uint8, c_uint16, c_uint64, c_void_p, py_object

import jax


class DLTensor(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("device_type", c_int32), ("device_id", c_int32), ("ndim", c_int32)]
    _fields_ += [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]
    _fields_ += [("shape", c_void_p), ("strides", c_void_p), ("byte_offset", c_uint64)]


class DLManagedTensor(ctypes.Structure):
    _fields_ = [("dl_tensor", DLTensor), ("manager_ctx", c_void_p), ("deleter", c_void_p)]


New = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", ctypes.pythonapi))
CPU, FLOAT = 1, 2
block = (ctypes.c_char * 4096)()
data = ctypes.addressof(block) + -ctypes.addressof(block) % 64
shape, strides = (c_int64 * 1)(4), (c_int64 * 1)(1)
tensor = DLTensor(data, CPU, 0, 1, FLOAT, 32, 1, ctypes.addressof(shape), ctypes.addressof(strides), 0)
managed = DLManagedTensor(tensor, None, None)


class Producer:
    def __dlpack_device__(self):
        return CPU, 0

    def __dlpack__(self, **keywords):
        return New(ctypes.addressof(managed), b"dltensor", None)


array = jax.dlpack.from_dlpack(Producer())
print(jax.__version__, array, flush=True)
del array
print("alive")
