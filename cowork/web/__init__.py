"""HTTP: the only folder that knows Flask and marshmallow."""
