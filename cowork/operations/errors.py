"""Why an operation was not done, in a sentence for the operator."""

from __future__ import annotations


class OperationFailed(Exception):
    """Nothing was changed, unless the sentence says so."""
