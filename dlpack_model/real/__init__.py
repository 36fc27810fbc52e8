"""What is looked at on real interpreters and libraries, each in a process of its own."""
