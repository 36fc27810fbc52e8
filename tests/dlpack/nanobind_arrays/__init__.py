"""A module written with nanobind, so that its arrays can be audited."""
