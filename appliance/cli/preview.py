"""`sidebard preview`: a local page that shows the card while you edit it."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
import webbrowser
from contextlib import suppress
from html import escape
from pathlib import Path

import click

from appliance.cli import common
from appliance.config.endpoint import Endpoint, parse_endpoint
from appliance.config.values import InvalidValueError
from appliance.errors import StartError
from appliance.observe import hooks, logs
from appliance.preview.server import ENDING, serve, url
from appliance.preview.session import Session
from appliance.system.fork import fork
from appliance.system.frozen import keep_files


@click.command("preview", short_help="Show the card in a browser while you edit it.")
@common.config_option
@common.customers_option
@common.app_option
@click.option(
    "--listen", default="127.0.0.1:0", metavar="ADDR:PORT", help="A loopback address (default: any free port)."
)
@click.option("--no-browser", is_flag=True, help="Print the URL, and do not open a browser.")
def command(config: Path | None, customers: Path | None, app_name: str | None, listen: str, no_browser: bool) -> None:
    """Show the sidebar as an agent sees it, updated whenever template, config or data change. Stop it with Ctrl-C."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # until the server handles them: the folder must be removed
    logs.configure(sys.stderr.buffer, time.time, terminal=sys.stderr.isatty())
    hooks.install(time.monotonic)
    endpoint = _endpoint(listen)
    settings = common.settings_without_secret(config, customers)
    app = common.find_app(settings, app_name)
    token = secrets.token_urlsafe(24)
    keep_files()
    with _bind(endpoint) as listener, tempfile.TemporaryDirectory(prefix="sidebard-preview-") as folder:
        address = url(listener, token)
        click.echo(address)
        _open(address, Path(folder), wanted=not no_browser)
        session = Session(
            settings, app, lambda: common.settings_without_secret(config, customers), Path(folder, "customers")
        )
        try:
            asyncio.run(serve(session, listener, token))
        finally:
            session.close()


def _endpoint(listen: str) -> Endpoint:
    """Parse --listen. Raises UsageError."""
    try:
        endpoint = parse_endpoint(listen)
    except InvalidValueError as error:
        raise click.UsageError(f"--listen: {error.reason}; {error.hint}") from None
    if endpoint.unix is not None or not endpoint.is_local:
        raise click.UsageError(
            f"--listen: {endpoint} is not a loopback address, and the page shows customers; write 127.0.0.1:0,"
            " and use ssh -L to reach it from another machine"
        )
    return endpoint


def _bind(endpoint: Endpoint) -> socket.socket:
    """Listen. Raises StartError."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    try:
        return socket.create_server((endpoint.host, endpoint.port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise StartError(f"{endpoint}: cannot listen: {reason}; choose another with --listen") from None


def _open(address: str, folder: Path, *, wanted: bool) -> None:
    """Open the page in a browser, if there is a display.

    The URL is in a file that only this user can read: every user of the machine can read a command line.
    """
    if not wanted or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    file = folder / "open.html"
    file.write_text(f'<!DOCTYPE html><meta http-equiv="refresh" content="0; url={escape(address)}">', "utf-8")

    def show() -> None:
        webbrowser.open(file.as_uri())

    with suppress(OSError):  # the address was printed
        fork(show, lambda: None, ENDING)  # some browsers keep their caller until they are closed
