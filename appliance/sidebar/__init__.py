"""From request to card. Nothing here does I/O, logs, or knows what time it is."""
