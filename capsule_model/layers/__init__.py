"""What people build on capsules, as models on the same simulated process: each layer is a module or a package here."""
