"""The settings: their schema, the one way to read them, and the files that they name."""
