"""From settings to objects: the one room that knows everybody."""
