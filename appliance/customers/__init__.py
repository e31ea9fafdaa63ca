"""Request time: addresses, records, the snapshot and its cache."""
