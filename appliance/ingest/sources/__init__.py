"""Where customers come from: one module a kind of source."""
