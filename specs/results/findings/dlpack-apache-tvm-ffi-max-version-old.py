"""apache-tvm-ffi 0.1.15.post2, __dlpack__/max-version-too-old: for (0, 8): AttributeError: 'tvm_ffi.core.Tensor'"""
# Ask for 0.8, which is the old struct.
import ctypes, sys
from ctypes import c_char_p, c_int32, c_int64, c_uint16, c_uint32, c_uint64, c_uint8, c_void_p, py_object
import tvm_ffi

CODES = {'P': c_void_p, 'i': c_int32, 'I': c_uint32, 'B': c_uint8, 'H': c_uint16, 'Q': c_uint64}
TENSOR = 'P:data i:device_type i:device_id i:ndim B:code B:bits H:lanes P:shape P:strides Q:byte_offset '
struct = lambda spec: type('Struct', (ctypes.Structure,), {'_fields_': [(word[2:], CODES[word[0]]) for word in spec.split()]})
LEGACY = struct(TENSOR + 'P:manager_ctx P:deleter')
New = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(('PyCapsule_New', ctypes.pythonapi))
GetName = ctypes.PYFUNCTYPE(c_char_p, py_object)(('PyCapsule_GetName', ctypes.pythonapi))
COUNTER, HARMLESS = (ctypes.cast(ctypes.pythonapi[name], c_void_p).value for name in ('Py_IncRef', 'Py_IsInitialized'))
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
def max_version_old(make):
    capsule, error = attempt(make().__dlpack__, max_version=(0, 8))
    kept = attempt(make().__dlpack__)[1] is None
    if error is None:
        text = f'for (0, 8): {GetName(capsule)!r}'
        return ('choice', text, '__dlpack__/may-return-another-version') if GetName(capsule)[8:] else ('kept', text)
    text = f'for (0, 8): {told(error)}'
    if isinstance(error, TypeError):
        return ('unsupported', text)
    if isinstance(error, BufferError):
        return ('style' if kept else 'kept', text + ', and without max_version the old struct' * kept)
    return ('contract', text, '__dlpack__/max-version-too-old')

verdict, seen, *rule = max_version_old(make)
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
