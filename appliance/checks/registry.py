"""The checks by name, in the order in which they are worth reading, and the one way to run them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

from appliance.checks import data, files, machine, sockets
from appliance.checks.context import Ground, explain
from appliance.checks.finding import Finding, Result, Status, fault
from appliance.config.schema import ConfigError
from appliance.edge.certificate import CertificateFault
from appliance.errors import StartFault
from appliance.ingest.spec import Refused
from appliance.observe.logs import log
from appliance.system.frozen import let_others_read
from appliance.system.privileges import seen_as


@dataclass(frozen=True, slots=True)
class Check:
    """One named check.

    `at_start`: cheap, and nothing that a start finds out by itself. `as_root`: to be made with all that root may do.
    """

    name: str
    look: Callable[[Ground], Iterable[Finding]]
    at_start: bool = False
    as_root: bool = False


CONFIG: Final = "config"
"""The check that comes before all others: without settings there is nothing to look at."""

CHECKS: Final = (
    Check(CONFIG, files.config),
    Check("secrets", files.secrets, at_start=True),
    Check("sockets", sockets.sockets, as_root=True),
    Check("certificate", files.certificate),
    Check("permissions", files.permissions, at_start=True),
    Check("customers", data.customers),
    Check("card", data.card),
    Check("state", machine.state, at_start=True, as_root=True),
    Check("space", machine.space, at_start=True),
    Check("clock", machine.clock, at_start=True),
    Check("descriptors", machine.descriptors, at_start=True),
)


def run(ground: Ground, checks: Iterable[Check] = CHECKS) -> Iterator[Result]:
    """Give the result of each check as soon as it is there. Raises nothing that a check may find."""
    if ground.eyes is not None:
        let_others_read()
        if ground.settings.server.user:
            ground.read_what_is_handed_over()
    for check in checks:
        with nullcontext() if check.as_root or ground.eyes is None else seen_as(ground.eyes):
            result = Result(check.name, tuple(_found(check, ground)))
        yield result


def log_findings(ground: Ground) -> None:
    """Run what a start does not find out by itself, and log what is wrong. The start goes on, whatever it is."""
    for result in run(ground, [check for check in CHECKS if check.at_start]):
        for finding in result.findings:
            if finding.status is Status.FAULT:
                log.error("check_fault", check=result.name, message=finding.sentence)
            elif finding.status is Status.WARNING:
                log.warning("check_warning", check=result.name, message=finding.sentence)


def _found(check: Check, ground: Ground) -> Iterator[Finding]:
    """Give what a check says; the house's own faults say what is wrong in their text."""
    try:
        yield from check.look(ground)
    except ConfigError as error:
        yield from (fault(str(each)) for each in error.faults)
    except (StartFault, CertificateFault, Refused) as error:
        yield fault(str(error))
    except OSError as error:  # such as a folder on the way that this user may not enter
        yield fault(explain(error))
