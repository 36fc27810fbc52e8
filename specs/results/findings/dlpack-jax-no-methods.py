"""jax 0.10.2, from_dlpack/needs-the-methods: TypeError: The array passed to from_dlpack must have __dlpack__ and"""
# Give an object without the methods.
import sys
import jax
import jax.numpy

def attempt(call, *arguments, **keywords):
    try:
        return (call(*arguments, **keywords), None)
    except Exception as error:
        return (None, error.with_traceback(None))
told = lambda error: f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"[:200]

consume = jax.dlpack.from_dlpack
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
