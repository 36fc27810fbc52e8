"""What is held against reality: real interpreters and libraries, each in a process of its own."""
