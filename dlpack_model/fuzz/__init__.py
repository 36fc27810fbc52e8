"""Programs of the exchange made by chance, and whoever is held to them: ``specs/FUZZING-DLPACK.md`` has examples."""
