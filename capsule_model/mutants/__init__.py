"""Faulty capsule implementations, each one plausible mistake, and how soon vectors and programs notice them."""
