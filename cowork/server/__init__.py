"""The gunicorn worker, and what a client's connection may cost."""
