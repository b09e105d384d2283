"""A store in Redis, for many workers and machines."""
