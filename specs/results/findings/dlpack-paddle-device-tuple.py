"""paddle 3.3.1, __dlpack_device__/tuple: __dlpack_device__() returns (<DLDeviceType.kDLCPU: 1>, None)"""
# Ask where an array is.
import sys
import paddle


def make():
    return paddle.arange(6, dtype='int32').reshape([2, 3])
def device_tuple(make):
    found = make().__dlpack_device__()
    whole = isinstance(found, tuple) and len(found) == 2 and all((isinstance(part, int) for part in found))
    return ('kept' if whole and 1 <= found[0] <= 18 else 'contract', f'__dlpack_device__() returns {found!r}')

verdict, seen, *rule = device_tuple(make)
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
