"""Pairs of vectors that differ as little as can be: one is undefined, the other is not."""
