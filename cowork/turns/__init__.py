"""A question's way: accepted, queued, run, told, recorded."""
