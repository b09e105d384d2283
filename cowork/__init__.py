"""XO Cowork API: REST and server-sent events for the local `claude` CLI, a session per project."""

__version__ = "0.1.0"
