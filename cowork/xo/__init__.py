"""The XO login: the token we hold, and the service that gives it."""
