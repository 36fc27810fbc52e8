"""nanobind 3.1.0, __dlpack__/stream-cpu: stream=0 on the CPU is accepted"""
# Hand over a stream where there are none.
import sys
import nanobind_arrays

def attempt(call, *arguments, **keywords):
    try:
        return (call(*arguments, **keywords), None)
    except Exception as error:
        return (None, error.with_traceback(None))
told = lambda error: f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"[:200]

def make():
    return nanobind_arrays.make()
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
