"""From socket to request: TLS, HTTP, the Tornado application."""
