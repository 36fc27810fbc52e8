"""Programs of steps made by chance, and the model held against an implementation while they run."""
