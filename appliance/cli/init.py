"""`sidebard init`: from a list of customers to a config, a secret and the first card.

look       the source, what is beside it, and where things go     nothing is written
ask        five questions, or their options                       nothing is written
try        import by the config, render the first card            in a temporary folder
write      copies for the service, the secret, the config         all or none
say        what check finds, the card, Help Scout's forms, the next command
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from appliance.bootstrap.installation import PACKAGED, Installation, find_installation, writing
from appliance.bootstrap.proposal import Choice, Proposal, choose
from appliance.bootstrap.settings import load
from appliance.bootstrap.wiring import make_app, make_protocol
from appliance.checks.registry import all_checks
from appliance.cli import check, common
from appliance.cli import init_questions as questions
from appliance.cli.card import as_text
from appliance.cli.init_report import Made, Tried, as_document, say
from appliance.config.files import read_secret
from appliance.config.reader import ConfigError
from appliance.config.schema import Settings
from appliance.config.secret_source import SecretSource, parse_secret
from appliance.config.values import InvalidValueError
from appliance.customers.snapshot import Snapshot
from appliance.ingest import sources
from appliance.ingest.sources.base import SourceError, SourceSettingError
from appliance.ingest.survey import survey, survey_beside
from appliance.sidebar.protocols.base import Conversation, Message

_STATE: Final = "/var/lib/sidebard"
_FOR_TRYING: Final = "127.0.0.1:8443"
_CARD: Final = "card.html"


@click.command("init", short_help="Create a config for a list of customers.")
@click.argument("source", required=False)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The config to write.")
@click.option(
    "--table", metavar="NAME", help="The table or view of a database; in an SQLite file it is found automatically."
)
@click.option("--password", metavar="WHERE", help="Where the password of a database is: file:PATH or env:NAME.")
@click.option("--server-name", metavar="NAME", help="The name under which Help Scout reaches this server.")
@click.option(
    "--certificate",
    metavar="acme|later|FILE",
    help="The certificate: acme (obtained automatically; the default with --server-name), later, or a PEM file.",
)
@click.option(
    "--key", metavar="FILE", help="The certificate's private key (PEM); by default it is looked for beside it."
)
@click.option("--card", metavar="NAME|FILE", help="The card: built-in (the default), an example's name, or a template.")
@click.option("--admin", metavar="ADDRESS", help=f"Where the status page listens (default: {questions.DEFAULT_ADMIN}).")
@click.option("--yes", is_flag=True, help="Ask nothing, and use the default of what no option sets.")
@click.option("--force", is_flag=True, help="Replace files that exist, and keep copies of them.")
@click.option("--json", "as_json", is_flag=True, help="Ask nothing, and print the result as one JSON object.")
def command(
    source: str | None,
    config: Path | None,
    table: str | None,
    password: str | None,
    server_name: str | None,
    certificate: str | None,
    key: str | None,
    card: str | None,
    admin: str | None,
    yes: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Look at SOURCE, a file of customers or the address of a database, and create a config and a secret for it.

    On a terminal, it asks for what no option sets. Nothing is written before the customers have been imported as a
    test, and no existing file is replaced. Then the config is checked, and the first customer's card is shown. If
    SOURCE cannot be used, the exit code is 1, and nothing is written.
    """
    for name, given in click.get_current_context().params.items():
        questions.require_utf8("SOURCE" if name == "source" else f"--{name.replace('_', '-')}", given)
    questions.require_utf8("the name of this folder, or of one above it,", Path.cwd())
    asks = not yes and not as_json
    if asks and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal for questions; add --yes")
    installation = find_installation(config)
    installation.refuse_existing(force=force)
    where = _parse_password(password, installation) if password else None

    def look_at(text: str) -> Choice:
        return _look(text, table, where)

    likely = questions.likely_source(Path.cwd())
    if source is None and asks:
        question = "Customers (a CSV, TSV or SQLite file, or a database's address)"
        choice = questions.answer(None, question, likely, look_at, asks=True)
    else:
        choice = look_at(likely if source is None else source)
    answers = questions.ask_rest(
        server_name=server_name, certificate=certificate, key=key, card=card, admin=admin, asks=asks
    )
    name, pair, template = answers.server_name, answers.certificate, answers.card
    proposal = Proposal(
        choice=choice,
        secret=installation.secret.name,
        password=str(where or ""),
        state=_STATE if installation.is_packaged else "",
        listen="" if name or installation.is_packaged else _FOR_TRYING,
        domains=(name,) if pair.is_automatic else (),
        certificate=(str(pair.files[0]), str(pair.files[1])) if pair.files else None,
        card=str(template.template) if template.template else "",
        vary=template.vary,
        admin=None if answers.admin == questions.DEFAULT_ADMIN else answers.admin,
    )
    proposal, tried = _try(proposal)
    made = _write(installation, proposal, is_example=template.is_example, force=force)
    made = replace(made, server_name=name, tried=tried)
    settings = load(installation.config, os.environ)
    if as_json:
        click.echo(msgspec.json.encode(as_document(made, check.run(settings, all_checks(), quiet=True, silent=True))))
    else:
        say(made, lambda: check.run(settings, all_checks(), quiet=True))


def _look(source: str, table: str | None, password: SecretSource | None) -> Choice:
    """Look at a source and what is beside it. Raises CommandError."""
    path = Path(source).expanduser().absolute()
    settings: dict[str, Any] = {
        "table": table or "", "query": "", "changed": "", "tls": "", "ca": None, "timeout": 60.0, "encoding": "",
        "password": partial(_read_password, password) if password is not None else None,
    }  # fmt: skip
    try:
        is_file = bool(sources.kind_of(source).suffixes)
        if is_file and password is not None:
            raise SourceError(f"{source} is a file, and --password is for a server; leave it out")
        if not is_file and not table:
            raise SourceError(f"{source} is a server; name its table or view with --table")
        tables = survey(str(path) if is_file else source, path, settings)
        beside = survey_beside(path) if is_file and not tables[0].name else ()
        return choose(tables, beside)
    except SourceSettingError as fault:
        raise common.CommandError(f"{source} {fault.reason}; {fault.hint}") from None
    except SourceError as fault:
        raise common.CommandError(str(fault)) from None


def _parse_password(text: str, installation: Installation) -> SecretSource:
    """Return where the password is; a file by its absolute path, for the config may be elsewhere. Raises UsageError."""
    try:
        where = parse_secret(text)
    except InvalidValueError as fault:
        raise click.UsageError(f"--password {fault.reason}; {fault.hint}") from None
    if where.kind == "env" and installation.is_packaged:
        raise click.UsageError(
            f"--password {text}: systemd starts the service without this variable; put the password into a file, and"
            " name it with file:PATH"
        )
    if where.path is None:
        return where
    path = where.path.absolute()
    return SecretSource("file", str(path), path)


def _read_password(where: SecretSource) -> str:
    """Return the password. Raises SourceError."""
    try:
        return read_secret(where, os.environ, "the password").decode("utf-8", "replace")
    except InvalidValueError as fault:
        raise SourceError(f"--password: {where} {fault.reason}; {fault.hint}") from None


def _try(proposal: Proposal) -> tuple[Proposal, Tried]:
    """Return a proposal by which the customers can be imported, and what came of it. Raises CommandError.

    If it is a related table that cannot be imported, the proposal is without.
    """
    try:
        return proposal, _import_and_render(proposal)
    except common.CommandError as fault:
        bare = replace(proposal, choice=replace(proposal.choice, related=()))
        if bare == proposal:
            raise
        with suppress(common.CommandError):
            return bare, _import_and_render(bare)
        raise fault from None


def _import_and_render(proposal: Proposal) -> Tried:
    """Import the customers by this config, and render the first one's card. Raises CommandError with one sentence."""
    with tempfile.TemporaryDirectory(prefix="sidebard-") as folder:
        tried = Path(folder, PACKAGED.name)
        # The state folder of a service is its own.
        tried.write_text(replace(proposal, state=folder, certificate=None).render(), "utf-8")
        try:
            settings = load(tried, os.environ)
            snapshot = common.open_customers(settings)
            return Tried(snapshot.metadata.rows, _first_card(settings, snapshot, proposal.choice.first_address))
        except ConfigError as error:
            raise common.CommandError(error.sentences[0].replace(f"{tried}:", "the config, line ", 1)) from None
        except common.CommandError as error:
            raise common.CommandError(str(error).splitlines()[0]) from None


def _first_card(settings: Settings, snapshot: Snapshot, address: str) -> str:
    app = settings.apps[0]
    made = make_app(settings, app, make_protocol(app, [secrets.token_bytes(20)]))
    made.use(snapshot)
    if not address:
        return ""
    body = made.protocol.sample(Conversation(addresses=(address,), subject=""))
    reply = made.answer(Message(body, made.protocol.sign(body).encode()))
    if reply.fault:
        return f"The card failed, so this is the built-in card: {reply.fault}\n" + as_text(
            made.protocol.read_card(reply.response.body)
        )
    return as_text(made.protocol.read_card(reply.response.body))


def _write(installation: Installation, proposal: Proposal, *, is_example: bool, force: bool) -> Made:
    """Write everything, with copies of what the service cannot read. Raises InstallationError."""
    choice, config = proposal.choice, installation.config
    copies: dict[Path, Path] = {}
    tables = [choice.customers, *(each.table for each in choice.related)]
    of_sources = list(dict.fromkeys(Path(table.source) for table in tables if table.source.startswith("/")))
    for file in of_sources:
        if not installation.can_be_read(file):
            copies[file] = installation.data / file.name
    password = Path(proposal.password.removeprefix("file:")) if proposal.password.startswith("file:") else None
    if password is not None and not installation.can_be_read(password):
        copies[password] = installation.password
    if proposal.card and (is_example or not installation.can_be_read(Path(proposal.card))):
        copies[Path(proposal.card)] = config.with_name(_CARD)
    for each in map(Path, proposal.certificate or ()):
        if not installation.can_be_read(each):
            copies[each] = config.with_name(each.name)
    place = {str(file): _named(copies.get(file, file), config.parent) for file in map(Path, _files(proposal))}
    if password is not None:
        place[proposal.password] = f"file:{_named(copies.get(password, password), config.parent)}"
    if proposal.certificate:
        certificate, key = proposal.certificate
        proposal = replace(proposal, certificate=(place[certificate], place[key]))
    with writing(installation, force=force) as files:
        for file, copy in copies.items():
            files.copy(file, copy, is_source=file in of_sources)
        is_new = files.write_secret()
        files.write_config(proposal.render(place))
    return Made(
        installation=installation,
        choice=choice,
        copies=copies,
        is_new_secret=is_new,
        has_certificate=bool(proposal.domains or proposal.certificate),
        listen=proposal.listen,
        admin=proposal.admin,
    )


def _files(proposal: Proposal) -> list[str]:
    tables = [proposal.choice.customers, *(each.table for each in proposal.choice.related)]
    sources_of_files = [table.source for table in tables if table.source.startswith("/")]
    return [*sources_of_files, *([proposal.card] if proposal.card else []), *(proposal.certificate or ())]


def _named(file: Path, folder: Path) -> str:
    """Return how a config in this folder names a file."""
    return file.name if file.parent == folder else str(file)
