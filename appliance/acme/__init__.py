"""Certificates that are obtained automatically (ACME, RFC 8555). Nothing here is imported without `[acme]`."""
