"""Debian's chromium, kept from the network."""

from __future__ import annotations

from playwright.sync_api import Browser, Playwright

PATH = "/usr/bin/chromium"
_ARGUMENTS = (
    "--no-sandbox",  # it is run as root in CI
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def launch(playwright: Playwright) -> Browser:
    """Start it. Raises playwright's Error if it is not installed."""
    return playwright.chromium.launch(executable_path=PATH, args=_ARGUMENTS)
