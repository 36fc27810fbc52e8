"""warp 1.19.0, capsule-destructor/leaves-error-indicator: the TypeError of int() was pending and became SystemEr"""
# Drop a capsule while an exception is pending: ``int`` sets its own, and lets go of its argument then.
import ctypes, sys
from ctypes import c_char_p, c_int, py_object
import warp as wp
wp.config.quiet = True

GetName = ctypes.PYFUNCTYPE(c_char_p, py_object)(('PyCapsule_GetName', ctypes.pythonapi))
SetName = ctypes.PYFUNCTYPE(c_int, py_object, c_char_p)(('PyCapsule_SetName', ctypes.pythonapi))
def attempt(call, *arguments, **keywords):
    try:
        return (call(*arguments, **keywords), None)
    except Exception as error:
        return (None, error.with_traceback(None))
told = lambda error: f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"[:200]

def make():
    return wp.array([[0, 1, 2], [3, 4, 5]], dtype=wp.int32, device='cpu')
def pending_error(make, keywords, name):
    capsule, error = attempt(make().__dlpack__, **keywords)
    if error or bool(name and b'versioned' in name) > (GetName(capsule) == b'dltensor_versioned'):
        return ('unsupported', told(error) if error else 'the old struct')
    if name:
        SetName(capsule, name)
    holder = [capsule]
    del capsule
    error = attempt(lambda: int(holder.pop()))[1]
    if isinstance(error, TypeError) and 'int()' in str(error):
        return ('kept', 'the exception stays')
    worst = 'style' if name == b'another name' else 'contract'
    return (worst, f'the TypeError of int() was pending and became {told(error)}')

verdict, seen, *rule = pending_error(make, keywords={}, name=b'another name')
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
