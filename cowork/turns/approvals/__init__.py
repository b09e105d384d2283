"""Approvals: what turns wait for a person to allow, and what people answer."""
