"""A vector's run as a page to step through: what is alive at every moment, and what the page shows of it."""
