"""What the model calls undefined behaviour, held against AddressSanitizer and Valgrind."""
