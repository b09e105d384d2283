"""HTTP to the upstream; the only folder that knows `requests`."""
