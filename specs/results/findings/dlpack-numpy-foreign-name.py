"""numpy 2.0.2, capsule-destructor/leaves-error-indicator: the process dies: SIGSEGV"""
# Drop a capsule that somebody gave a name of his own.
import ctypes, sys
from ctypes import c_char_p, c_int, c_int32, c_uint16, c_uint32, c_uint64, c_uint8, c_void_p, py_object
import numpy

CODES = {'P': c_void_p, 'i': c_int32, 'I': c_uint32, 'B': c_uint8, 'H': c_uint16, 'Q': c_uint64}
TENSOR = 'P:data i:device_type i:device_id i:ndim B:code B:bits H:lanes P:shape P:strides Q:byte_offset '
struct = lambda spec: type('Struct', (ctypes.Structure,), {'_fields_': [(word[2:], CODES[word[0]]) for word in spec.split()]})
LEGACY = struct(TENSOR + 'P:manager_ctx P:deleter')
VERSIONED = struct('I:major I:minor P:manager_ctx P:deleter Q:flags ' + TENSOR)
STRUCTS = {b'dltensor': LEGACY, b'dltensor_versioned': VERSIONED}
GetName = ctypes.PYFUNCTYPE(c_char_p, py_object)(('PyCapsule_GetName', ctypes.pythonapi))
SetName = ctypes.PYFUNCTYPE(c_int, py_object, c_char_p)(('PyCapsule_SetName', ctypes.pythonapi))
GetPointer = ctypes.PYFUNCTYPE(c_void_p, py_object, c_char_p)(('PyCapsule_GetPointer', ctypes.pythonapi))
Occurred = ctypes.PYFUNCTYPE(c_void_p)(('PyErr_Occurred', ctypes.pythonapi))
COUNTER, HARMLESS = (ctypes.cast(ctypes.pythonapi[name], c_void_p).value for name in ('Py_IncRef', 'Py_IsInitialized'))
first = lambda managed: int(c_uint64.from_address(ctypes.addressof(managed)).value)
opened = lambda capsule: STRUCTS.get(GetName(capsule), LEGACY).from_address(GetPointer(capsule, GetName(capsule)))
def attempt(call, *arguments, **keywords):
    try:
        return (call(*arguments, **keywords), None)
    except Exception as error:
        return (None, error.with_traceback(None))
told = lambda error: f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"[:200]

def make():
    return numpy.arange(6, dtype='int32').reshape(2, 3)
def foreign_name(make, keywords):
    capsule, error = attempt(make().__dlpack__, **keywords)
    if error:
        return ('unsupported', told(error))
    managed = opened(capsule)
    managed.deleter, before = (COUNTER, first(managed))
    SetName(capsule, b'another name')
    del capsule
    left = attempt(Occurred)[1]
    if left:
        return ('contract', f'the destructor leaves {told(left)} pending')
    calls = first(managed) - before
    if calls:
        return ('contract', 'the destructor deletes under another name', 'capsule-destructor/deletes-while-unconsumed')
    return ('kept', 'the destructor does nothing that is seen')

verdict, seen, *rule = foreign_name(make, keywords={})
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
