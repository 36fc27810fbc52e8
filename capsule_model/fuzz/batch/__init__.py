"""Lockstep in bulk: a program on the model, then in one call on the running interpreter, each step compared."""

from capsule_model.fuzz.batch.case import Batch, Case, open_batch
from capsule_model.fuzz.batch.weights import Weights

__all__ = ["Batch", "Case", "Weights", "open_batch"]
