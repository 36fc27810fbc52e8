"""Faulty parties of the exchange, each one plausible mistake, and how soon vectors and programs notice them.

``python -m dlpack_model.mutants`` prints the scores.
"""

from dlpack_model.mutants.scoring import scores

__all__ = ["scores"]
