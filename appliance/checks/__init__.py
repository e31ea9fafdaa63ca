"""What can be found wrong before an agent finds it: named checks, run by `sidebard check` and by the start."""
