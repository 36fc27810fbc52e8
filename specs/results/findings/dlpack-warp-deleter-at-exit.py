"""warp 1.19.0, DLManagedTensor/deleter-after-finalisation: the process dies: SIGSEGV"""
# Leave a tensor to an exit handler of C's, which calls the deleter when the interpreter has ended.
import ctypes, sys
from ctypes import c_char_p, c_int, c_int32, c_uint16, c_uint32, c_uint64, c_uint8, c_void_p, py_object
import warp as wp
wp.config.quiet = True

CODES = {'P': c_void_p, 'i': c_int32, 'I': c_uint32, 'B': c_uint8, 'H': c_uint16, 'Q': c_uint64}
TENSOR = 'P:data i:device_type i:device_id i:ndim B:code B:bits H:lanes P:shape P:strides Q:byte_offset '
struct = lambda spec: type('Struct', (ctypes.Structure,), {'_fields_': [(word[2:], CODES[word[0]]) for word in spec.split()]})
LEGACY = struct(TENSOR + 'P:manager_ctx P:deleter')
VERSIONED = struct('I:major I:minor P:manager_ctx P:deleter Q:flags ' + TENSOR)
STRUCTS = {b'dltensor': LEGACY, b'dltensor_versioned': VERSIONED}
USED = {b'dltensor': b'used_dltensor', b'dltensor_versioned': b'used_dltensor_versioned'}
GetName = ctypes.PYFUNCTYPE(c_char_p, py_object)(('PyCapsule_GetName', ctypes.pythonapi))
SetName = ctypes.PYFUNCTYPE(c_int, py_object, c_char_p)(('PyCapsule_SetName', ctypes.pythonapi))
GetPointer = ctypes.PYFUNCTYPE(c_void_p, py_object, c_char_p)(('PyCapsule_GetPointer', ctypes.pythonapi))
opened = lambda capsule: STRUCTS.get(GetName(capsule), LEGACY).from_address(GetPointer(capsule, GetName(capsule)))
def taken(capsule):
    managed = opened(capsule)
    SetName(capsule, USED[GetName(capsule)])
    return managed
def attempt(call, *arguments, **keywords):
    try:
        return (call(*arguments, **keywords), None)
    except Exception as error:
        return (None, error.with_traceback(None))
told = lambda error: f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"[:200]

def make():
    return wp.array([[0, 1, 2], [3, 4, 5]], dtype=wp.int32, device='cpu')
def deleter_at_exit(make, keywords):
    capsule, error = attempt(make().__dlpack__, **keywords)
    if error:
        return ('unsupported', told(error))
    managed = taken(capsule)
    register = ctypes.CFUNCTYPE(ctypes.c_int, c_void_p, c_void_p, c_void_p)(('__cxa_atexit', ctypes.CDLL(None)))
    if managed.deleter:
        register(managed.deleter, ctypes.addressof(managed), None)
    return ('kept', 'the process ends in peace')

verdict, seen, *rule = deleter_at_exit(make, keywords={})
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
