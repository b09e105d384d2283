"""Runs a turn in a thread of its project: from the claim to its result."""
