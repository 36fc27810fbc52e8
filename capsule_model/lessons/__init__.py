"""Exercises that the model judges, and this interpreter asked beside it: what the notebooks use."""

from capsule_model.lessons.exercise import answer, check
from capsule_model.lessons.here import Here
from capsule_model.lessons.sides import compare

__all__ = ["Here", "answer", "check", "compare"]
