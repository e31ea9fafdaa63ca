"""From address to records: the sources, the import, the snapshot and the look-up."""
