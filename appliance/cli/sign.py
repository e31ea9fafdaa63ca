"""`sidebard sign`: the signature of a body."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from appliance.bootstrap.wiring import make_protocol
from appliance.cli import common
from appliance.cli.curl import reach
from appliance.config.files import read_secrets
from appliance.config.schema import Settings, from_flags
from appliance.errors import FAILURE
from appliance.sidebar.protocols.base import Message


@click.command("sign", short_help="Print or verify the signature of a message.")
@click.argument("file", default="-")
@common.config_option
@common.secret_option
@common.app_option
@click.option("--header", is_flag=True, help="Print the whole header line.")
@click.option("--curl", "url", metavar="URL", help="Print a curl command that posts the signed body to URL.")
@click.option("--verify", "signature", metavar="SIGNATURE", help="Check whether this is the signature of the body.")
def command(
    file: str,
    config: Path | None,
    secret_file: Path | None,
    app_name: str | None,
    header: bool,
    url: str | None,
    signature: str | None,
) -> None:
    """Print the signature that the help desk would send with the body in FILE (default: "-", which is stdin)."""
    if sum((header, url is not None, signature is not None)) > 1:
        raise click.UsageError("--header, --curl and --verify cannot be combined")
    settings = _settings(config, secret_file)
    app = common.find_app(settings, app_name)
    protocol = make_protocol(app, read_secrets(app, os.environ))
    body = common.read_input(file)
    signed = protocol.sign(body)
    if signature is not None:
        if not protocol.authenticate(Message(body, signature.encode("utf-8", "surrogateescape"))):
            click.echo("invalid: different secret or different bytes")
            sys.exit(FAILURE)
        click.echo("valid")
    elif header:
        click.echo(f"{protocol.header}: {signed}")
    elif url is not None:
        click.echo(curl_command(settings, url, protocol.header, signed, body, file))
    else:
        click.echo(signed)


def _settings(config: Path | None, secret_file: Path | None) -> Settings:
    if secret_file is None:
        return common.find_settings(config)
    if config is not None:
        raise click.UsageError("--config cannot be combined with --secret-file")
    return from_flags(Path("customers.csv"), secret_file, os.environ, Path.cwd())


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
