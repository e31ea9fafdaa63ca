"""`sidebard check`: opens everything that the config names, and says what is wrong and how to mend it."""

from __future__ import annotations

import os
import pwd
import ssl
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from appliance.checks.context import Ground
from appliance.checks.finding import Finding, Result, Status, fault, worst
from appliance.checks.http_probe import target_of
from appliance.checks.live import ask_itself
from appliance.checks.registry import CHECKS, CONFIG, Check, run
from appliance.cli import CONFIG_WRONG, FAILED, common
from appliance.config.schema import ConfigError, Settings
from appliance.errors import StartFault
from appliance.observe import logs
from appliance.system.privileges import eyes_of

_WORDS: Final = {
    Status.OK: ("ok", "green"),
    Status.NOT_CHECKED: ("not checked here", "cyan"),
    Status.WARNING: ("warning", "yellow"),
    Status.FAULT: ("FAULT", "red"),
}
_LEVELS: Final = {Status.WARNING: "warning", Status.FAULT: "error"}
_NAME_WIDTH: Final = max(len(check.name) for check in CHECKS)
_WORD_WIDTH: Final = max(len(word) for word, _colour in _WORDS.values())


@click.command("check", short_help="Check the config and everything that it names.")
@common.config_option
@click.option("-q", "--quiet", is_flag=True, help="Print only warnings and faults.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.option("--self", "url", metavar="URL", help="Check a running service instead; the next three are for it.")
@click.option("--connect", metavar="HOST:PORT", help="Connect there, whatever host the URL has.")
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

    Nothing is changed. Exits with 1 if there is a fault, with 78 if the config cannot be used; warnings leave 0.
    """
    checks = _checks(url, connect, ca, insecure)
    try:
        settings = common.find_settings(config)
    except ConfigError as error:
        if not as_json:
            raise common.ConfigStop(error) from None
        _print_json([Result(CONFIG, tuple(fault(str(each)) for each in error.faults))])
        sys.exit(CONFIG_WRONG)
    ground = Ground(settings, os.environ, eyes=_eyes(settings))
    results = []
    for result in run(ground, checks):
        results.append(result)
        if not as_json:
            _print(result, quiet=quiet)
    if as_json:
        _print_json([result for result in results if not quiet or _is_news(result.status)])
    elif not quiet and url is None:
        _print_sum(results)
    if worst(result.status for result in results) is Status.FAULT:
        sys.exit(FAILED)


def _checks(url: str | None, connect: str | None, ca: Path | None, insecure: bool) -> tuple[Check, ...]:
    """Give the checks to run. Raises UsageError."""
    if url is None:
        if connect is not None or ca is not None or insecure:
            raise click.UsageError("--connect, --ca and --insecure belong to --self URL")
        return CHECKS
    context = common.trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ca, insecure=insecure)
    try:
        target = target_of(url, context, connect or "")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return (Check("self", partial(ask_itself, target=target)),)


def _eyes(settings: Settings) -> pwd.struct_passwd | None:
    """Give the user to look at files as: root can read everything, which says nothing of what the service can."""
    with suppress(StartFault):  # that there is no such user is for the check "config" to say
        return eyes_of(settings.server.user, settings.server.state)
    return None


def _print(result: Result, *, quiet: bool) -> None:
    """Print a line for each finding, as soon as it is known; the check's name stands before the first."""
    name = result.name
    for finding in result.findings:
        if quiet and not _is_news(finding.status):
            continue
        click.echo(f"{name:<{_NAME_WIDTH}}  {_word(finding)}  {finding.sentence}", color=_colours())
        name = name if quiet else ""


def _is_news(status: Status) -> bool:
    """Whether --quiet leaves a finding of this status."""
    return status in (Status.WARNING, Status.FAULT)


def _word(finding: Finding) -> str:
    word, colour = _WORDS[finding.status]
    return click.style(f"{word:<{_WORD_WIDTH}}", fg=colour)


def _colours() -> bool | None:
    return False if os.environ.get("NO_COLOR") else None  # None: on a terminal


def _print_sum(results: Iterable[Result]) -> None:
    counts = Counter(result.status for result in results)
    parts = [
        common.counted(counts[status], word.lower()) if _is_news(status) else f"{counts[status]} {word}"
        for status, (word, _colour) in _WORDS.items()
        if counts[status]
    ]
    click.echo(f"{common.counted(sum(counts.values()), 'check')}: {', '.join(parts)}")


def _print_json(results: Iterable[Result]) -> None:
    results = list(results)
    document: dict[str, Any] = {
        "status": worst(result.status for result in results),
        "checks": [{"name": each.name, "status": each.status, "findings": each.findings} for each in results],
    }
    # A reload runs this by systemd, which takes the level in front as that of the line.
    level = logs.PRIORITIES[_LEVELS.get(document["status"], "info")] if logs.is_journal(1, os.environ) else b""
    click.echo(level + msgspec.json.encode(document))
