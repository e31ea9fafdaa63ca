"""Whether systemd has given up on the service or its socket, which the config cannot tell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from appliance.checks.finding import Finding, fault, warning

_SOCKET: Final = "sidebard.socket"
_SERVICE: Final = "sidebard.service"
_TIMEOUT: Final = 5.0

Ask = Callable[[], str]


def ask_systemd() -> str:
    """Return what systemctl says about the units; "" where systemd does not run. Raises OSError, SubprocessError."""
    if not os.path.isdir("/run/systemd/system"):
        return ""
    command = ["systemctl", "show", "--property=Id,ActiveState,Result", _SOCKET, _SERVICE]
    return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False).stdout  # noqa: S603  # nothing of it is input


def failed_units(environ: Mapping[str, str], ask: Ask = ask_systemd) -> Iterator[Finding]:
    """Yield which unit has failed, and the command that helps; nothing if none has, or inside the unit itself."""
    if "INVOCATION_ID" in environ:
        return
    try:
        said = ask()
    except (OSError, subprocess.SubprocessError):  # without systemd there is nothing to report
        return
    units = [dict(row.partition("=")[::2] for row in block.splitlines()) for block in said.split("\n\n")]
    # A start that failed is "deactivating" in the pause before the next.
    ended = [unit for unit in units if unit.get("ActiveState") in ("failed", "deactivating")]
    failed = {unit["Id"]: unit["Result"] for unit in ended if unit.get("Result", "success") != "success"}
    if _SOCKET in failed:
        yield fault(
            f"{_SOCKET} has failed ({failed[_SOCKET]}), so the port is closed; open it again: "
            f"systemctl reset-failed {_SOCKET} {_SERVICE} && systemctl restart {_SOCKET}"
        )
    elif _SERVICE in failed:
        before = "reset-failed sidebard && systemctl " if failed[_SERVICE] == "start-limit-hit" else ""
        yield warning(
            f"{_SERVICE} has failed ({failed[_SERVICE]}); once the faults listed here are fixed, run "
            f"systemctl {before}restart sidebard"
        )
