"""paddle 3.3.1, from_dlpack/unsupported-device: the process dies: SIGSEGV"""
# Give a tensor on a device that is not there.
import ctypes, sys
from ctypes import c_char_p, c_int, c_int32, c_int64, c_uint16, c_uint32, c_uint64, c_uint8, c_void_p, py_object
import paddle

CODES = {'P': c_void_p, 'i': c_int32, 'I': c_uint32, 'B': c_uint8, 'H': c_uint16, 'Q': c_uint64}
TENSOR = 'P:data i:device_type i:device_id i:ndim B:code B:bits H:lanes P:shape P:strides Q:byte_offset '
struct = lambda spec: type('Struct', (ctypes.Structure,), {'_fields_': [(word[2:], CODES[word[0]]) for word in spec.split()]})
LEGACY = struct(TENSOR + 'P:manager_ctx P:deleter')
VERSIONED = struct('I:major I:minor P:manager_ctx P:deleter Q:flags ' + TENSOR)
STRUCTS = {b'dltensor': LEGACY, b'dltensor_versioned': VERSIONED}
New = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(('PyCapsule_New', ctypes.pythonapi))
COUNTER, HARMLESS = (ctypes.cast(ctypes.pythonapi[name], c_void_p).value for name in ('Py_IncRef', 'Py_IsInitialized'))
first = lambda managed: int(c_uint64.from_address(ctypes.addressof(managed)).value)
map_memory = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_int64, c_int, c_int, c_int, c_int64)(('mmap', ctypes.CDLL(None)))
def attempt(call, *arguments, **keywords):
    try:
        return (call(*arguments, **keywords), None)
    except Exception as error:
        return (None, error.with_traceback(None))
told = lambda error: f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"[:200]
class Source:
    def __init__(self, name=None, shape=(2, 3), strides=(3, 1), raw=b'', **fields):
        ctypes.pythonapi.Py_IncRef(py_object(self))
        self.name, self.exports = (name, [])
        raw = raw or b''.join((bytes((i, 0, 0, 0)) for i in range(6)))
        self.data = map_memory(1 << 29 | (id(self) >> 4 & 8191) << 16, len(raw) + 4096, 3, 98, -1, 0)
        ctypes.memmove(self.data, raw, len(raw))
        self.words = [words if words is None else (c_int64 * len(words))(*words) for words in (shape, strides)]
        sizes, steps = (words if words is None else ctypes.addressof(words) for words in self.words)
        self.fields = {'data': self.data, 'device_type': 1, 'bits': 32, 'lanes': 1, 'deleter': COUNTER, 'major': 1}
        self.fields |= {'ndim': len(shape or ()), 'shape': sizes, 'strides': steps, 'manager_ctx': self.data, **fields}
    def __dlpack_device__(self):
        return (self.fields['device_type'], 0)
    def __dlpack__(self, **keywords):
        name = self.name or (b'dltensor_versioned' if keywords.get('max_version') else b'dltensor')
        kind = STRUCTS.get(name, LEGACY)
        managed = kind(**{field: value for field, value in self.fields.items() if hasattr(kind, field)})
        self.exports.append((New(ctypes.addressof(managed), name, HARMLESS), managed, first(managed), name))
        return self.exports[-1][0]

consume = paddle.from_dlpack
def unsupported_device(consume, device):
    error = attempt(consume, Source(device_type=device))[1]
    if error is None:
        return ('choice', f'a tensor on device type {device} is taken')
    if isinstance(error, SystemError):
        return ('contract', f'SystemError: {error}', 'from_dlpack/error-with-null')
    text = f'device type {device}: {told(error)}'
    return ('kept' if isinstance(error, BufferError) else 'style', text)

verdict, seen, *rule = unsupported_device(consume, device=2)
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
