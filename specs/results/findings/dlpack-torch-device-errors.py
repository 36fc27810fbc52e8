"""torch.from_dlpack refuses most devices with BufferError, oneAPI with RuntimeError and ExtDev with an import error."""

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
FLOAT = 2
shape, strides = (c_int64 * 1)(4), (c_int64 * 1)(1)


class Producer:
    def __init__(self, device):
        self.device = device
        tensor = DLTensor(4096, device, 0, 1, FLOAT, 32, 1, ctypes.addressof(shape), ctypes.addressof(strides), 0)
        self.managed = DLManagedTensor(tensor, None, None)

    def __dlpack_device__(self):
        return self.device, 0

    def __dlpack__(self, **keywords):
        return New(ctypes.addressof(self.managed), b"dltensor", None)


print(torch.__version__)
for told, device in (("Vulkan", 7), ("WebGPU", 15), ("oneAPI", 14), ("ExtDev", 12)):
    try:
        torch.from_dlpack(Producer(device))
    except Exception as error:
        print(told, type(error).__name__, str(error).partition("\n")[0])
