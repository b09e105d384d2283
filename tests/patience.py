"""How long a test waits for what has to happen; how long something may take stands in its test."""

# Seconds; used up only where a test fails, however busy the machine is.
PATIENCE_S = 30.0
# For what must not come about by a timeout of the product (the shortest such lease is 15 s) or by
# the end of a tool that a scene runs (30 s).
SOON_S = 10.0
