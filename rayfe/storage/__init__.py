"""A run directory: the only code that knows its layout."""
