"""Shapes and strides, which count elements."""

from __future__ import annotations

__all__ = ["indexed", "row_major"]


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a compact array."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


def indexed(
    shape: tuple[int, ...], strides: tuple[int, ...], index: tuple[int | slice, ...]
) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Return how far the first element of a view moves, and its shape and strides; ``IndexError`` where it has none."""
    if len(index) > len(shape):
        raise IndexError("too many indices")
    start = 0
    new_shape, new_strides = [], []
    for length, stride, one in zip(shape, strides, index, strict=False):
        if isinstance(one, slice):
            picked = range(length)[one]
            start += picked.start * stride if picked else 0
            new_shape.append(len(picked))
            new_strides.append(stride * picked.step)
        else:
            start += range(length)[one] * stride
    rest = len(index)
    return start, (*new_shape, *shape[rest:]), (*new_strides, *strides[rest:])
