"""This worker among others on its Redis: what it does for them, and what all of them have."""
