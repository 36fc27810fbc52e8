"""torch 2.14.1, DLManagedTensorVersioned/is-copied: copy=True copies, and the flags are 0"""
# Ask for a copy, and compare where the elements lie.
import ctypes, sys
from ctypes import c_char_p, c_int32, c_uint16, c_uint32, c_uint64, c_uint8, c_void_p, py_object
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
def attempt(call, *arguments, **keywords):
    try:
        return (call(*arguments, **keywords), None)
    except Exception as error:
        return (None, error.with_traceback(None))
told = lambda error: f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"[:200]

def make():
    return torch.arange(6, dtype=torch.int32).reshape(2, 3)
def copy_true(make):
    array = make()
    shared = array.__dlpack__()
    copy, error = attempt(array.__dlpack__, max_version=(1, 0), copy=True)
    if error:
        return ('unsupported' if isinstance(error, TypeError) else 'choice', told(error))
    one, other = (opened(shared), opened(copy))
    if one.data + one.byte_offset == other.data + other.byte_offset:
        return ('contract', "copy=True gives the address of the array's own elements")
    if GetName(copy) == b'dltensor_versioned' and (not other.flags & 2):
        return ('contract', f'copy=True copies, and the flags are {other.flags}', 'DLManagedTensorVersioned/is-copied')
    return ('kept', 'copied' + ', and marked' * (GetName(copy) == b'dltensor_versioned'))

verdict, seen, *rule = copy_true(make)
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
