"""What the operator has set: variables, their parsers, and the file of API keys."""
