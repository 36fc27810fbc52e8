"""Capsules of real interpreters: what they hold, whose functions they point to, and whether they can be imported."""
