"""One process of the CLI: started, written to, read, ended."""
