"""paddle 3.3.1, from_dlpack/needs-the-methods: ValueError: (InvalidArgument) from_dlpack received an invalid cap"""
# Give an object without the methods.
import sys
import paddle

def attempt(call, *arguments, **keywords):
    try:
        return (call(*arguments, **keywords), None)
    except Exception as error:
        return (None, error.with_traceback(None))
told = lambda error: f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"[:200]

consume = paddle.from_dlpack
def no_methods(consume, standard):
    error = attempt(consume, object())[1]
    if error is None:
        return ('contract', 'an object without __dlpack__ is taken')
    if isinstance(error, AttributeError):
        return ('kept', f'AttributeError: {error}')
    return ('contract' if standard else 'choice', told(error))

verdict, seen, *rule = no_methods(consume, standard=True)
print(verdict + ':', *seen.split())
sys.exit(verdict not in ('kept', 'choice', 'unsupported'))
