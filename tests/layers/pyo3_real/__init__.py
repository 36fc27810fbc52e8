"""The calls of PyO3 that vectors make, as a Rust module that is built and held against the model."""
