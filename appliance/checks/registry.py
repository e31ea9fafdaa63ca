"""The checks by name, in the order in which they were registered, and the one way to run them.

A check is a function that takes a `CheckContext` and yields findings:

    @check("clock", at_start=True)
    def clock(context: CheckContext) -> Iterator[Finding]: ...

Its docstring is its row in docs/operations.md. What it may find, it yields or raises as a `SidebardError` or `OSError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

from appliance.checks.context import CheckContext, explain
from appliance.checks.finding import Finding, Result, Status, fault
from appliance.errors import SidebardError
from appliance.observe.logs import log
from appliance.system.frozen import let_others_read
from appliance.system.privileges import impersonate

CONFIG: Final = "config"
"""The check that comes before all others: without settings there is nothing to check."""

RunCheck = Callable[[CheckContext], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One named check.

    `at_start`: it is cheap, and finds what a start would not find by itself. `as_root`: run by root, it stays root,
    where others impersonate the user who reads the files.
    """

    name: str
    run: RunCheck
    at_start: bool = False
    as_root: bool = False

    @property
    def description(self) -> str:
        """What it checks, on one line."""
        return " ".join((self.run.__doc__ or "").split())


_registered: Final[dict[str, Check]] = {}


def check(name: str, *, at_start: bool = False, as_root: bool = False) -> Callable[[RunCheck], RunCheck]:
    """Register a function as the check of this name. See `Check`."""

    def register(run: RunCheck) -> RunCheck:
        if name in _registered:
            raise ValueError(f'there are two checks named "{name}"')
        _registered[name] = Check(name, run, at_start, as_root)
        return run

    return register


def all_checks() -> tuple[Check, ...]:
    """Return every check, in the order in which the results are worth reading."""
    return tuple(_registered.values())


def run_checks(context: CheckContext, checks: Iterable[Check]) -> Iterator[Result]:
    """Run checks, and yield each result as soon as it is known. Raises nothing that a check may find."""
    if context.file_user is not None:
        let_others_read()
        if context.settings.server.user:
            context.read_owned_after_start()
    for each in checks:
        with nullcontext() if each.as_root or context.file_user is None else impersonate(context.file_user):
            result = Result(each.name, tuple(_findings(each, context)))
        yield result


def log_findings(context: CheckContext) -> None:
    """Run the checks of a start, and log what is wrong. The start continues in any case."""
    for result in run_checks(context, [each for each in all_checks() if each.at_start]):
        for finding in result.findings:
            if finding.status is Status.FAULT:
                log.error("check_fault", check=result.name, message=finding.sentence)
            elif finding.status is Status.WARNING:
                log.warning("check_warning", check=result.name, message=finding.sentence)


def _findings(each: Check, context: CheckContext) -> Iterator[Finding]:
    """Yield what a check finds; an error that an operator can correct is a finding."""
    try:
        yield from each.run(context)
    except SidebardError as error:
        yield from map(fault, error.sentences)
    except OSError as error:  # such as a folder on the way that this user may not enter
        yield fault(explain(error))
