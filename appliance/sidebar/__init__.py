"""From an inquiry to an answer. Nothing here does I/O, logs, or knows what time it is."""
