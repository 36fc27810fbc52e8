"""paddle 3.3.1, current_work_stream/cpu-null: returns 0, stream 77"""
# Ask for the current stream of the CPU.
import ctypes, sys
from ctypes import c_char_p, c_int, c_int32, c_uint16, c_uint32, c_uint64, c_uint8, c_void_p, py_object
import paddle

CODES = {'P': c_void_p, 'i': c_int32, 'I': c_uint32, 'B': c_uint8, 'H': c_uint16, 'Q': c_uint64}
struct = lambda spec: type('Struct', (ctypes.Structure,), {'_fields_': [(word[2:], CODES[word[0]]) for word in spec.split()]})
TABLE = struct('I:major I:minor P:prev P:allocator P:export P:steal P:borrow P:stream')
GetPointer = ctypes.PYFUNCTYPE(c_void_p, py_object, c_char_p)(('PyCapsule_GetPointer', ctypes.pythonapi))
table_of = lambda array: TABLE.from_address(GetPointer(type(array).__dlpack_c_exchange_api__, b'dlpack_exchange_api'))
def attempt(call, *arguments, **keywords):
    try:
        return (call(*arguments, **keywords), None)
    except Exception as error:
        return (None, error.with_traceback(None))
told = lambda error: f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"[:200]

def make():
    return paddle.arange(6, dtype='int32').reshape([2, 3])
def table_stream(make):
    table, error = attempt(table_of, make())
    if error:
        return ('unsupported', f'there is no table: {told(error)}')
    out = c_void_p(77)
    call = ctypes.PYFUNCTYPE(c_int, c_int, c_int, c_void_p)(table.stream)
    failed, error = attempt(call, 1, 0, ctypes.byref(out))
    text = told(error) if error else f'returns {failed}, stream {out.value}'
    return ('kept' if error or failed or (not out.value) else 'style', text)

verdict, seen, *rule = table_stream(make)
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
