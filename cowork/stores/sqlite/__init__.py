"""A store in a file, for one machine."""
