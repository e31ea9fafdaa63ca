"""`sidebard sign`: the signature of a body."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click

from appliance.bootstrap.wiring import make_page, make_protocol
from appliance.cli import common
from appliance.cli.curl import reach
from appliance.config.files import read_page_secrets, read_secrets
from appliance.config.loader import from_flags
from appliance.config.schema import App, Settings
from appliance.errors import FAILURE
from appliance.sidebar.protocols.base import Message


@click.command("sign", short_help="Print or verify the signature of a message.")
@click.argument("file", default="-")
@common.config_option
@common.secret_option
@common.app_option
@click.option("--header", is_flag=True, help="Print the whole header line.")
@click.option("--curl", "url", metavar="URL", help="Print a curl command that posts the signed body to URL.")
@click.option("--page", "page_url", metavar="URL", help="Print URL, of a page, with the signature behind its query.")
@click.option("--verify", "signature", metavar="SIGNATURE", help="Check whether this is the signature of the body.")
def command(
    file: str,
    config: Path | None,
    secret_file: Path | None,
    app_name: str | None,
    header: bool,
    url: str | None,
    page_url: str | None,
    signature: str | None,
) -> None:
    """Print the signature that the help desk would send with the body in FILE (default: "-", which is stdin)."""
    if sum((header, url is not None, page_url is not None, signature is not None)) > 1:
        raise click.UsageError("--header, --curl, --page and --verify cannot be combined")
    settings = _settings(config, secret_file)
    app = common.find_app(settings, app_name)
    if page_url is not None:
        click.echo(signed_url(app, page_url))
        return
    protocol = make_protocol(app, read_secrets(app, os.environ))
    body = common.read_input(file)
    signed = protocol.sign(body)
    if signature is not None:
        if protocol.authenticate(Message(body, signature.encode("utf-8", "surrogateescape"))) is None:
            click.echo("invalid: different secret or different bytes")
            sys.exit(FAILURE)
        click.echo("valid")
    elif header:
        click.echo(f"{protocol.header}: {signed}")
    elif url is not None:
        # As bytes: the name of a file need not be UTF-8.
        click.echo(os.fsencode(curl_command(settings, url, protocol.header, signed, body, file)))
    else:
        click.echo(signed)


def _settings(config: Path | None, secret_file: Path | None) -> Settings:
    if secret_file is None:
        return common.find_settings(config)
    if config is not None:
        raise click.UsageError("--config cannot be combined with --secret-file")
    return from_flags(Path("customers.csv"), secret_file, os.environ, Path.cwd())


def signed_url(app: App, url: str) -> str:
    """Return the URL that Help Scout would put into a frame for the parameters in `url`."""
    page = make_page(app, read_page_secrets(app, os.environ))
    if page is None:
        raise click.UsageError(f'the app "{app.name}" has no page; add [app.page] below its [[app]] in the config')
    parts = urlsplit(url)
    try:
        return parts._replace(query=page.signed_query(parts.query.encode()), fragment="").geturl()
    except ValueError as error:  # the text says what of the query cannot be signed, and quotes none of it
        raise click.UsageError(f"the query of URL cannot be Help Scout's: {error}") from None


def curl_command(settings: Settings, url: str, header: str, signature: str, body: bytes, file: str) -> str:
    """Return a curl command line that can be pasted into any shell, in any folder."""
    options, url = reach(settings, url)
    words = ["curl", "-sS", "-w", r"\n%{http_code}\n", *options]  # the status on a line of its own, below the body
    words += ["-H", f"{header}: {signature}", "-H", "Content-Type: application/json"]
    # A text body is part of the command, where it can be changed to see the signature refused.
    text = body.decode("utf-8", "replace")
    inline = file == "-" and text.encode() == body and "\0" not in text and not text.startswith("@")
    words += ["--data-binary", text if inline else f"@{os.path.abspath(file) if file != '-' else '-'}", url]
    return shlex.join(words)
