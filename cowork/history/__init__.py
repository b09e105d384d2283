"""Chat messages on their way to the Chat API: the outbox pattern, with one relay."""
