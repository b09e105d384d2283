"""Turns of other workers: whose a project is, what is asked there, and what is read there."""
