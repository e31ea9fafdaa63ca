"""sidebard beside others that do the same work: Go's net/http, nginx with a fixed body, and Python's ceiling."""
