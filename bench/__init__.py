"""Measures the server against the bare CLI and against what it promises; see README.md."""
