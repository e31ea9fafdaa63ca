"""The questions of `sidebard init`: each is an option, too, and has an answer that is taken if nobody is asked."""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import click

from appliance.bootstrap.installation import example_cards
from appliance.config import acme
from appliance.config.endpoint import parse_local_endpoint
from appliance.config.values import InvalidValueError
from appliance.edge.certificate import CertificateError
from appliance.edge.tls import load_pair
from appliance.errors import SidebardError
from appliance.ingest import sources
from appliance.system.files import is_utf8

ACME: Final = "acme"
LATER: Final = "later"
BUILT_IN: Final = "built-in"
DEFAULT_ADMIN: Final = "127.0.0.1:9180"
_USUAL_SOURCE: Final = "customers.csv"
_KEYS: Final = ("privkey.pem", "key.pem", "server.key")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where the certificate comes from: an authority, files, or neither of them yet."""

    is_automatic: bool = False
    files: tuple[Path, Path] | None = None


@dataclass(frozen=True, slots=True)
class CardChoice:
    """The card: a template and what it may read beside the customer; None: the built-in card."""

    template: Path | None = None
    vary: tuple[str, ...] = ()
    is_example: bool = False


def answer(given: str | None, question: str, default: str, parse: Callable[[str], T], *, asks: bool) -> T:
    """Return the parsed answer: what an option says, or what is typed, or the default.

    What is wrong with an option is UsageError; what is wrong with what is typed is said, and it is asked again.
    """
    if given is None and asks:
        return click.prompt(question, default=default, show_default=bool(default), err=True, value_proc=_told(parse))
    return _told(parse)(default if given is None else given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What is to be known besides the source."""

    server_name: str
    certificate: Certificate
    card: CardChoice
    admin: str


def ask_rest(
    *,
    server_name: str | None,
    certificate: str | None,
    key: str | None,
    card: str | None,
    admin: str | None,
    asks: bool,
) -> Answers:
    """Ask for what no option says, one after the other: an answer may depend on the one before. Raises UsageError."""
    examples = "".join(f", {example}" for example in example_cards())
    name = answer(
        server_name,
        "Name of this server, as Help Scout will call it (empty: not known yet)",
        likely_server_name() if asks else "",
        parse_server_name,
        asks=asks,
    )
    return Answers(
        server_name=name,
        certificate=answer(
            certificate,
            f"Certificate ({ACME}, {LATER}, or a PEM file)",
            likely_certificate(name),
            lambda text: parse_certificate(text, name, key),
            asks=asks,
        ),
        card=answer(card, f"Card ({BUILT_IN}{examples}, or a template file)", BUILT_IN, parse_card, asks=asks),
        admin=answer(admin, "Status page (an address of this machine)", DEFAULT_ADMIN, parse_admin, asks=asks),
    )


def _told(parse: Callable[[str], T]) -> Callable[[str], T]:
    def parse_and_tell(text: str) -> T:
        require_utf8("what was typed", text)
        try:
            return parse(text.strip())
        except InvalidValueError as fault:
            raise click.UsageError(f"{text.strip()} {fault.reason}; {fault.hint}") from None
        except SidebardError as fault:
            raise click.UsageError(str(fault)) from None

    return parse_and_tell


def require_utf8(what: str, text: object) -> None:
    """Raise UsageError if a name or path is not UTF-8: the config is to hold it."""
    if not is_utf8(str(text)):
        raise click.UsageError(f"{what} is not UTF-8, as everything in a config must be; rename it")


def likely_source(folder: Path) -> str:
    """Return the file that is called customers.csv, or else the only one in this folder that may be a source."""
    suffixes = tuple(suffix for kind in sources.KINDS for suffix in kind.suffixes)
    with suppress(OSError):
        files = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in suffixes and is_utf8(file))
        if _USUAL_SOURCE not in files and len(files) == 1:
            return files[0]
    return _USUAL_SOURCE


def likely_server_name() -> str:
    """Return the name of this machine, if it is one of the DNS."""
    name = socket.gethostname().lower()
    with suppress(InvalidValueError):
        return "" if acme.is_local(acme.parse_server_name(name)) else name
    return ""


def parse_server_name(text: str) -> str:
    """Parse the name of the server, which may be in a URL; "" is not known yet."""
    if not text:
        return ""
    return acme.parse_server_name(urlsplit(text).hostname if "://" in text else text)


def likely_certificate(server_name: str) -> str:
    """Return that it is obtained automatically, if an authority issues certificates for this name."""
    return ACME if server_name and not acme.is_local(server_name) else LATER


def parse_certificate(text: str, server_name: str, key: str | None = None) -> Certificate:
    """Parse where the certificate comes from; its key is named, or beside it."""
    if text == ACME:
        if not server_name:
            raise InvalidValueError("needs the name of the server", f"set --server-name, or write {LATER}")
        if acme.is_local(server_name):
            raise InvalidValueError(f"needs a public name in the DNS, and {server_name} is none", f"write {LATER}")
        return Certificate(is_automatic=True)
    if text in (LATER, ""):
        return Certificate()
    chain = Path(text).absolute()
    if not chain.is_file():
        raise InvalidValueError("is not a file", f"name the PEM file of the chain, or write {ACME} or {LATER}")
    beside = [chain.with_name(name) for name in (*_KEYS, f"{chain.stem}.key", f"{chain.stem}-key.pem")]
    keys = [Path(key).absolute()] if key else [*beside, chain]
    for each in keys:
        with suppress(CertificateError):
            load_pair((chain, each), datetime.now(UTC))
            return Certificate(files=(chain, each))
    looked = ", ".join(each.name for each in keys[:-1] or keys)
    raise InvalidValueError(f"has no matching key in {looked}", "name the key's file with --key")


def parse_card(text: str) -> CardChoice:
    """Parse which card: the built-in one, an example by its name, or a template's file."""
    if text in (BUILT_IN, ""):
        return CardChoice()
    examples = example_cards()
    if text in examples:
        config = tomllib.loads(examples[text].with_name("sidebard.toml").read_text("utf-8"))
        return CardChoice(examples[text], tuple(config["app"][0].get("vary", ())), is_example=True)
    if not os.path.isfile(text):
        choices = ", ".join([BUILT_IN, *examples])
        raise InvalidValueError("is neither an example nor a file", f"write one of {choices}, or name a template")
    return CardChoice(Path(text).absolute())


def parse_admin(text: str) -> str:
    """Parse where the status page listens; "" or "none" is nowhere."""
    if text in ("", "none"):
        return ""
    parse_local_endpoint(text)
    return text
