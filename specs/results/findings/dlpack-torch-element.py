"""torch 2.14.1, from_dlpack/same-values: element [0] is -2.0, and 2.0 where the struct says that it lies"""
# Read the bytes of one element where the struct says that it lies.
import ctypes, math, sys
from ctypes import c_char_p, c_int32, c_int64, c_uint16, c_uint32, c_uint64, c_uint8, c_void_p, py_object
import torch

CODES = {'P': c_void_p, 'i': c_int32, 'I': c_uint32, 'B': c_uint8, 'H': c_uint16, 'Q': c_uint64}
TENSOR = 'P:data i:device_type i:device_id i:ndim B:code B:bits H:lanes P:shape P:strides Q:byte_offset '
struct = lambda spec: type('Struct', (ctypes.Structure,), {'_fields_': [(word[2:], CODES[word[0]]) for word in spec.split()]})
LEGACY = struct(TENSOR + 'P:manager_ctx P:deleter')
VERSIONED = struct('I:major I:minor P:manager_ctx P:deleter Q:flags ' + TENSOR)
STRUCTS = {b'dltensor': LEGACY, b'dltensor_versioned': VERSIONED}
GetName = ctypes.PYFUNCTYPE(c_char_p, py_object)(('PyCapsule_GetName', ctypes.pythonapi))
GetPointer = ctypes.PYFUNCTYPE(c_void_p, py_object, c_char_p)(('PyCapsule_GetPointer', ctypes.pythonapi))
opened = lambda capsule: STRUCTS.get(GetName(capsule), LEGACY).from_address(GetPointer(capsule, GetName(capsule)))
lengths = lambda managed: list((c_int64 * managed.ndim).from_address(managed.shape)) if managed.ndim > 0 else []
def attempt(call, *arguments, **keywords):
    try:
        return (call(*arguments, **keywords), None)
    except Exception as error:
        return (None, error.with_traceback(None))

def make():
    return torch.tensor([1 + 2j, 3 - 4j]).conj().imag
def element(make, index, raw, value, rule):
    capsule, error = attempt(make().__dlpack__, max_version=(1, 3))
    managed = opened(attempt(make().__dlpack__)[0] if error else capsule)
    strides = list((c_int64 * len(index)).from_address(managed.strides)) if managed.strides else []
    strides = strides or [math.prod(lengths(managed)[axis + 1:]) for axis in range(len(index))]
    bits = sum((i * stride for i, stride in zip(index, strides, strict=True))) * managed.bits * managed.lanes
    found = ctypes.string_at(managed.data + managed.byte_offset + bits // 8, len(raw))
    if managed.bits < 8:
        found = bytes((found[0] >> bits % 8 & (1 << managed.bits) - 1,))
    text = f'element {index} is {value}, {raw.hex()} in memory; where the struct says it lies is {found.hex()}'
    return ('kept' if found == raw else 'wrong values', text, rule)

verdict, seen, *rule = element(make, index=[0], raw=b'\x00\x00\x00\xc0', value=-2.0, rule='from_dlpack/same-values')
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
