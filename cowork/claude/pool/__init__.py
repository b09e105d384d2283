"""The resident processes: leased, started ahead, bounded, ended when idle."""
