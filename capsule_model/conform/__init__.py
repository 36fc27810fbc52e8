"""Hold model, written specification and an implementation against each other."""
