"""Import time: from the operator's sources to a snapshot, and every reason to refuse one."""
