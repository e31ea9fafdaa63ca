"""An installation to check, on disk, and what a check says of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, Result
from appliance.checks.registry import all_checks, run_checks
from appliance.config.loader import load
from appliance.config.schema import Settings
from tests.factory import SECRET, write_csv


def write_home(
    folder: Path, *, server: str = "", tls: str = "", customers: str = "", more: str = "", app: str = ""
) -> Path:
    """Write customers, a secret, a state folder and a config that has nothing wrong; return the config."""
    write_csv(folder / "customers.csv")
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)
    (folder / "state").mkdir(exist_ok=True)
    config = folder / "sidebard.toml"
    listen = "" if "listen" in server else 'listen = ["127.0.0.1:0"]'
    secrets = "" if "secrets" in app else 'secrets = ["file:secret"]'
    config.write_text(
        f'[server]\nstate = "state"\n{listen}\n{server}\n[tls]\n{tls}\n'
        f'[customers]\nsource = "customers.csv"\naddresses = ["email"]\n{customers}\n'
        f'[admin]\nlisten = ""\n{more}\n[[app]]\n{secrets}\n{app}\n'
    )
    config.chmod(0o600)
    return config


def context(
    folder: Path, environ: Mapping[str, str] | None = None, now: float = 1_790_000_000.0, **parts: str
) -> CheckContext:
    """Return the context of an installation that is written into `folder`."""
    return CheckContext(settings(folder, **parts), environ or {}, clock=lambda: now)


def settings(folder: Path, **parts: str) -> Settings:
    """Return the settings of an installation that is written into `folder`."""
    return load(write_home(folder, **parts), {})


def run_check(name: str, where: CheckContext) -> Result:
    """Run the check of this name."""
    [result] = run_checks(where, [check for check in all_checks() if check.name == name])
    return result


def told(result: Result) -> list[tuple[str, str]]:
    """Return the findings as plain pairs."""
    return [(finding.status.value, finding.sentence) for finding in result.findings]


def only(result: Result) -> Finding:
    """Return the one finding there is."""
    [finding] = result.findings
    return finding
