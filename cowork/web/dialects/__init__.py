"""The endpoints of other APIs, whose clients ask our turns: HTTP of `cowork/dialects/`."""
