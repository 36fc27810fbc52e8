"""paddle 3.3.1, DLTensor/data-of-nothing: no elements, and data is not NULL"""
# Look at the fields of a tensor before anything is read through them.
import ctypes, sys
from ctypes import c_char_p, c_int32, c_int64, c_uint16, c_uint32, c_uint64, c_uint8, c_void_p, py_object
import paddle

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
told = lambda error: f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"[:200]

def make():
    return paddle.arange(24, dtype='int32').reshape([4, 6])[:0]
def tensor(make, shape, dtype):
    capsule, error = attempt(make().__dlpack__, max_version=(1, 3))
    capsule, error = attempt(make().__dlpack__) if isinstance(error, TypeError) else (capsule, error)
    if error:
        return ('choice', f'refused: {told(error)}')
    managed = opened(capsule)
    if managed.ndim != len(shape):
        return ('contract', f'ndim is {managed.ndim}, where the shape is {shape}', 'DLTensor/ndim')
    if shape and (not managed.shape):
        return ('contract', f'the pointer to the shape is NULL, where the shape is {shape}', 'DLTensor/shape')
    if lengths(managed) != list(shape):
        rule = 'DLTensor/shape-not-negative' if min(lengths(managed)) < 0 else 'DLTensor/size-in-64-bits'
        return ('contract', f'the shape is {lengths(managed)}, where {shape} is right', rule)
    if 0 in shape:
        return ('style' if managed.data else 'kept', f"no elements, and data is {'not ' * bool(managed.data)}NULL", 'DLTensor/data-of-nothing')
    if not managed.data:
        return ('contract', 'there are elements, and data is NULL', 'DLTensor/data')
    if shape and (not managed.strides):
        late = GetName(capsule) == b'dltensor_versioned' and (managed.major, managed.minor) >= (1, 2)
        return ('contract' if late else 'choice', 'strides are NULL', 'DLTensor/strides-not-null')
    seen = (managed.code, managed.bits, managed.lanes)
    rule = 'DLDataType/sub-byte-bits' if dtype[1] < 8 else 'DLDataType/code-and-bits'
    return ('kept' if seen == dtype else 'contract', f'code, bits, lanes: {seen}, where {dtype} is right', rule)

verdict, seen, *rule = tensor(make, shape=(0, 6), dtype=(0, 32, 1))
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
