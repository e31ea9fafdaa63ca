"""What the operator sees of a running service."""
