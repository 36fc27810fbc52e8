"""jax.dlpack.from_dlpack(copy=True) gives an array that shares memory with the producer's, here one of NumPy."""

import jax
import numpy

block = numpy.zeros(1024, numpy.int32)
# The elements start at a multiple of 64 bytes: a view of them is possible.
start = -block.ctypes.data % 64 // 4
producer = block[start : start + 6].reshape(2, 3)
array = jax.dlpack.from_dlpack(producer, copy=True).block_until_ready()
shared = array.unsafe_buffer_pointer() == producer.ctypes.data
producer[0, 0] = 77
print(jax.__version__, "shares memory:", shared, "and after a write by the producer:", array.tolist())
