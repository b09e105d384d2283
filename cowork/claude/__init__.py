"""The `claude` CLI: the only folder that knows its words and starts processes."""
