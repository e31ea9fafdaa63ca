"""The processes: supervisor, workers, steward, import children."""
