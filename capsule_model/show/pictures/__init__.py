"""Pictures of a simulated process: for notebooks (HTML, SVG) and terminals, with the standard library alone."""
