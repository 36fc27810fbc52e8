"""jax.dlpack.from_dlpack(copy=False) copies elements of 64 bits into elements of 32, and does not raise."""

import jax
import numpy

block = numpy.arange(1024, dtype=numpy.int64)
start = -block.ctypes.data % 64 // 8
producer = block[start : start + 6]
producer[0] = 1 << 40
array = jax.dlpack.from_dlpack(producer, copy=False).block_until_ready()
shared = array.unsafe_buffer_pointer() == producer.ctypes.data
print(jax.__version__, "shares memory:", shared, "type:", array.dtype, "value of 1 << 40:", int(array[0]))
