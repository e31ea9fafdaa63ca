"""The processes: what is put together, runs, imports and ends."""
