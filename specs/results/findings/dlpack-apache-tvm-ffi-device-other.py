"""apache-tvm-ffi 0.1.15.post2, __dlpack__/dl-device: dl_device=(2, 0) gives device type 1"""
# Ask for a device that is not there.
import ctypes, sys
from ctypes import c_char_p, c_int32, c_int64, c_uint16, c_uint32, c_uint64, c_uint8, c_void_p, py_object
import tvm_ffi

CODES = {'P': c_void_p, 'i': c_int32, 'I': c_uint32, 'B': c_uint8, 'H': c_uint16, 'Q': c_uint64}
TENSOR = 'P:data i:device_type i:device_id i:ndim B:code B:bits H:lanes P:shape P:strides Q:byte_offset '
struct = lambda spec: type('Struct', (ctypes.Structure,), {'_fields_': [(word[2:], CODES[word[0]]) for word in spec.split()]})
LEGACY = struct(TENSOR + 'P:manager_ctx P:deleter')
VERSIONED = struct('I:major I:minor P:manager_ctx P:deleter Q:flags ' + TENSOR)
STRUCTS = {b'dltensor': LEGACY, b'dltensor_versioned': VERSIONED}
New = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(('PyCapsule_New', ctypes.pythonapi))
GetName = ctypes.PYFUNCTYPE(c_char_p, py_object)(('PyCapsule_GetName', ctypes.pythonapi))
GetPointer = ctypes.PYFUNCTYPE(c_void_p, py_object, c_char_p)(('PyCapsule_GetPointer', ctypes.pythonapi))
COUNTER, HARMLESS = (ctypes.cast(ctypes.pythonapi[name], c_void_p).value for name in ('Py_IncRef', 'Py_IsInitialized'))
opened = lambda capsule: STRUCTS.get(GetName(capsule), LEGACY).from_address(GetPointer(capsule, GetName(capsule)))
class Simple:
    data, words = ((c_int32 * 6)(*range(6)), (c_int64 * 4)(2, 3, 3, 1))
    start, sizes = (ctypes.addressof(data), ctypes.addressof(words))
    managed = LEGACY(start, 1, 0, 2, 0, 32, 1, sizes, sizes + 16, deleter=HARMLESS)
    def __dlpack_device__(self):
        return (1, 0)
    def __dlpack__(self, **keywords):
        return New(ctypes.addressof(self.managed), b'dltensor', HARMLESS)
def attempt(call, *arguments, **keywords):
    try:
        return (call(*arguments, **keywords), None)
    except Exception as error:
        return (None, error.with_traceback(None))
told = lambda error: f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"[:200]

def make():
    return tvm_ffi.from_dlpack(Simple())
def device_other(make, device):
    capsule, error = attempt(make().__dlpack__, dl_device=device)
    if error is None:
        return ('contract', f'dl_device={device} gives device type {opened(capsule).device_type}', '__dlpack__/dl-device')
    text = f'dl_device={device}: {told(error)}'
    if isinstance(error, SystemError):
        return ('contract', text, '__dlpack__/error-with-null')
    if isinstance(error, TypeError) and 'dl_device' in str(error):
        return ('unsupported', text)
    return ('kept' if isinstance(error, BufferError) else 'contract', text)

verdict, seen, *rule = device_other(make, device=(2, 0))
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
