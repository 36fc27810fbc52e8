"""The audit: every rule of the exchange that an installed library can break, put to that library."""
