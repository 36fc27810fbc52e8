"""The exchange held against reality: real libraries, fed through ctypes by a producer that the model describes."""
