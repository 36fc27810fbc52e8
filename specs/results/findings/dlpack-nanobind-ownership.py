"""nanobind 3.1.0, from_dlpack/renames: shares the elements, and does not rename the capsule"""
# Import a tensor, and see whether what shares its elements owns them.
import ctypes, sys
from ctypes import c_char_p, c_int, c_int32, c_int64, c_uint16, c_uint32, c_uint64, c_uint8, c_void_p, py_object
import nanobind_arrays

CODES = {'P': c_void_p, 'i': c_int32, 'I': c_uint32, 'B': c_uint8, 'H': c_uint16, 'Q': c_uint64}
TENSOR = 'P:data i:device_type i:device_id i:ndim B:code B:bits H:lanes P:shape P:strides Q:byte_offset '
struct = lambda spec: type('Struct', (ctypes.Structure,), {'_fields_': [(word[2:], CODES[word[0]]) for word in spec.split()]})
LEGACY = struct(TENSOR + 'P:manager_ctx P:deleter')
VERSIONED = struct('I:major I:minor P:manager_ctx P:deleter Q:flags ' + TENSOR)
STRUCTS = {b'dltensor': LEGACY, b'dltensor_versioned': VERSIONED}
New = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(('PyCapsule_New', ctypes.pythonapi))
GetName = ctypes.PYFUNCTYPE(c_char_p, py_object)(('PyCapsule_GetName', ctypes.pythonapi))
COUNTER, HARMLESS = (ctypes.cast(ctypes.pythonapi[name], c_void_p).value for name in ('Py_IncRef', 'Py_IsInitialized'))
first = lambda managed: int(c_uint64.from_address(ctypes.addressof(managed)).value)
map_memory = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_int64, c_int, c_int, c_int, c_int64)(('mmap', ctypes.CDLL(None)))
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

consume = nanobind_arrays.take
values = lambda array: memoryview(array).tolist()
def ownership(consume, values, name):
    source = Source(name)
    result = consume(source)
    capsule, managed, before, _ = source.exports[-1]
    early, named = (first(managed) - before, GetName(capsule) == name)
    ctypes.memset(source.data, 1, 24)
    if values(result) == [[0, 1, 2], [3, 4, 5]]:
        return ('kept', 'copies, and owns nothing')
    if early:
        return ('double free', 'the deleter ran, and the elements are still shared', 'DLManagedTensor/no-use-after-deleter')
    return ('contract' if named else 'kept', 'shares the elements' + ', and does not rename the capsule' * named)

verdict, seen, *rule = ownership(consume, values, name=b'dltensor')
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
