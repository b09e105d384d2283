"""The CLI's stream-json: lines, and what they mean.  Pure."""
