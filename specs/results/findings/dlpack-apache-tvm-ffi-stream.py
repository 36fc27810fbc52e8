"""apache-tvm-ffi 0.1.15.post2, __dlpack__/stream-cpu: stream=0 on the CPU is accepted"""
# Hand over a stream where there are none.
import ctypes, sys
from ctypes import c_char_p, c_int32, c_int64, c_uint16, c_uint32, c_uint64, c_uint8, c_void_p, py_object
import tvm_ffi

CODES = {'P': c_void_p, 'i': c_int32, 'I': c_uint32, 'B': c_uint8, 'H': c_uint16, 'Q': c_uint64}
TENSOR = 'P:data i:device_type i:device_id i:ndim B:code B:bits H:lanes P:shape P:strides Q:byte_offset '
struct = lambda spec: type('Struct', (ctypes.Structure,), {'_fields_': [(word[2:], CODES[word[0]]) for word in spec.split()]})
LEGACY = struct(TENSOR + 'P:manager_ctx P:deleter')
New = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(('PyCapsule_New', ctypes.pythonapi))
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
def stream_on_cpu(make, stream):
    error = attempt(make().__dlpack__, stream=stream)[1]
    if isinstance(error, SystemError):
        return ('contract', f'stream={stream}: SystemError: {error}', '__dlpack__/error-with-null')
    text = f'stream={stream} on the CPU'
    if error:
        return ('kept', f'{text}: {told(error)}')
    return ('style' if stream == -1 else 'contract', f'{text} is accepted')

verdict, seen, *rule = stream_on_cpu(make, stream=0)
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
