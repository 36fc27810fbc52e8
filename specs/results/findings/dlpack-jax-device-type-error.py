"""jax.dlpack.from_dlpack refuses a device that it does not support with TypeError, where BufferError is asked for."""

import jax


class Producer:
    def __dlpack_device__(self):
        return 8, 0

    def __dlpack__(self, **keywords):
        raise AssertionError("is never called")


try:
    jax.dlpack.from_dlpack(Producer())
except Exception as error:
    print(jax.__version__, type(error).__name__, str(error).partition("<")[0])
