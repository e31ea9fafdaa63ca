"""The errors that carry their own exit code; `cli.main` is the one place that turns them into it."""

from __future__ import annotations


class StartFault(Exception):
    """The config is good and the start failed all the same (exit 3); the text is a sentence."""
