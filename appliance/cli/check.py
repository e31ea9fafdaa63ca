"""`sidebard check`: opens everything that the config names, and says what is wrong and how to fix it."""

from __future__ import annotations

import os
import pwd
import ssl
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from appliance.bootstrap.installation import service_user
from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, Result, Status, fault, worst
from appliance.checks.http_probe import target_of
from appliance.checks.live import check_live
from appliance.checks.registry import CONFIG, Check, all_checks, run_checks
from appliance.cli import common, counted
from appliance.config.reader import ConfigError
from appliance.config.schema import Settings
from appliance.errors import FAILURE, StartError
from appliance.observe import logs
from appliance.system.privileges import file_user

_WORDS: Final = {
    Status.OK: ("ok", "green"),
    Status.NOT_CHECKED: ("not checked here", "cyan"),
    Status.WARNING: ("warning", "yellow"),
    Status.FAULT: ("FAULT", "red"),
}
_LEVELS: Final = {Status.WARNING: "warning", Status.FAULT: "error"}
_WORD_WIDTH: Final = max(len(word) for word, _colour in _WORDS.values())


@click.command("check", short_help="Check the config and everything that it names.")
@common.config_option
@click.option("-q", "--quiet", is_flag=True, help="Print only warnings and faults.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.option(
    "--self", "url", metavar="URL", help="Check a running service instead (with --connect, --ca or --insecure)."
)
@click.option("--connect", metavar="HOST:PORT", help="Connect to this address instead of the host in the URL.")
@common.ca_option
@common.insecure_option
def command(
    config: Path | None,
    quiet: bool,
    as_json: bool,
    url: str | None,
    connect: str | None,
    ca: Path | None,
    insecure: bool,
) -> None:
    """Open everything that the config names, and say what is wrong, where, and what to do.

    Nothing is changed. The exit code is 1 if there is a fault and 78 if the config is invalid; after warnings it is 0.
    """
    checks = _checks(url, connect, ca, insecure)
    try:
        settings = common.find_settings(config)
    except ConfigError as error:
        if not as_json:
            raise
        _print_json([Result(CONFIG, tuple(map(fault, error.sentences)))])
        sys.exit(error.exit_code)
    results = run(settings, checks, quiet=quiet, silent=as_json)
    if as_json:
        _print_json([result for result in results if not quiet or needs_attention(result.status)])
    elif not quiet and url is None:
        _print_summary(results)
    if worst(result.status for result in results) is Status.FAULT:
        sys.exit(FAILURE)


def run(settings: Settings, checks: Sequence[Check], *, quiet: bool, silent: bool = False) -> list[Result]:
    """Run checks, and print what each finds as soon as it is known, if not `silent`."""
    context = CheckContext(settings, os.environ, file_user=_file_user(settings))
    results = []
    width = max(len(each.name) for each in checks)
    for result in run_checks(context, checks):
        results.append(result)
        if not silent:
            _print(result, width, quiet=quiet)
    return results


def _checks(url: str | None, connect: str | None, ca: Path | None, insecure: bool) -> tuple[Check, ...]:
    """Return the checks to run. Raises UsageError."""
    if url is None:
        if connect is not None or ca is not None or insecure:
            raise click.UsageError("--connect, --ca and --insecure require --self URL")
        return all_checks()
    context = common.trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ca, insecure=insecure)
    try:
        target = target_of(url, context, connect or "")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return (Check("self", partial(check_live, target=target)),)


def _file_user(settings: Settings) -> pwd.struct_passwd | None:
    """Return the user to read files as: root can read everything, which says nothing about what the service can.

    Before the package's service has run for the first time, the state folder is nobody's, or root's.
    """
    with suppress(StartError):  # the check "config" reports a user who does not exist
        found = file_user(settings.server.user, settings.server.state)
        return found or service_user(settings.file)
    return None


def _print(result: Result, width: int, *, quiet: bool) -> None:
    """Print a line for each finding, as soon as it is known; the check's name is in front of the first."""
    name = result.name
    for finding in result.findings:
        if quiet and not needs_attention(finding.status):
            continue
        click.echo(f"{name:<{width}}  {_word(finding)}  {finding.sentence}", color=_colours())
        name = name if quiet else ""


def needs_attention(status: Status) -> bool:
    """Return whether --quiet still prints a finding of this status."""
    return status in (Status.WARNING, Status.FAULT)


def _word(finding: Finding) -> str:
    word, colour = _WORDS[finding.status]
    return click.style(f"{word:<{_WORD_WIDTH}}", fg=colour)


def _colours() -> bool | None:
    return False if os.environ.get("NO_COLOR") else None  # None: on a terminal


def _print_summary(results: Iterable[Result]) -> None:
    counts = Counter(result.status for result in results)
    parts = [
        counted(counts[status], word.lower()) if needs_attention(status) else f"{counts[status]} {word}"
        for status, (word, _colour) in _WORDS.items()
        if counts[status]
    ]
    click.echo(f"{counted(sum(counts.values()), 'check')}: {', '.join(parts)}")


def as_document(results: Sequence[Result]) -> dict[str, Any]:
    """Return the findings as --json prints them."""
    return {
        "status": worst(result.status for result in results),
        "checks": [{"name": each.name, "status": each.status, "findings": each.findings} for each in results],
    }


def _print_json(results: Iterable[Result]) -> None:
    document = as_document(list(results))
    # systemd runs this at a reload, and reads the level of a line in front of it.
    level = logs.PRIORITIES[_LEVELS.get(document["status"], "info")] if logs.is_journal(1, os.environ) else b""
    click.echo(level + msgspec.json.encode(document))
