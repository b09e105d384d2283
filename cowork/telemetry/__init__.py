"""What `/metrics` shows: which figures there are, and how workers share them."""
