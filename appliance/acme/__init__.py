"""Certificates from an authority, by themselves (ACME, RFC 8555). Nothing here is imported without `[acme]`."""
