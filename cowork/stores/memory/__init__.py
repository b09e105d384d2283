"""A store in the server's own memory, gone at its end."""
