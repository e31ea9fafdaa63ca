"""Reading the settings by all rules: those of the config, and those of the rooms that it does not know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from appliance.bootstrap.sources import check_sources
from appliance.config import loader
from appliance.config.acme import check_acme
from appliance.config.reader import Reader
from appliance.config.schema import Settings
from appliance.config.values import shown
from appliance.sidebar.protocols import PAGES, PROTOCOLS


def load(file: Path, environ: Mapping[str, str]) -> Settings:
    """Read a config file, as `loader.load` does. Raises ConfigError."""
    return loader.load(file, environ, CHECKS)


def from_flags(
    customers: Path, secret_file: Path, environ: Mapping[str, str], cwd: Path, addresses: Sequence[str] = ("email",)
) -> Settings:
    """Return the settings that flags say, as `loader.from_flags` does. Raises ConfigError."""
    return loader.from_flags(customers, secret_file, environ, cwd, CHECKS, addresses)


def check_protocols(settings: Settings, reader: Reader) -> None:
    """Check what only a protocol knows: that there is one of this name, and what `vary` may name."""
    for index, app in enumerate(settings.apps):
        protocol = PROTOCOLS.get(app.protocol)
        if protocol is None:
            if app.protocol is not None:
                reader.fault(("app", index, "protocol"), *_one_of(PROTOCOLS), shown(app.protocol))
            continue
        if app.page is not None and app.protocol not in PAGES:
            reader.fault(
                ("app", index, "page"), "is not for this protocol", f"remove it, or use protocol {' or '.join(PAGES)}"
            )
        for place, name in enumerate(app.vary or ()):
            if name not in protocol.vary:
                reader.fault(("app", index, "vary", place), *_one_of(protocol.vary), shown(name))


def _one_of(choices: Iterable[str]) -> tuple[str, str]:
    words = ", ".join(f'"{choice}"' for choice in choices)
    return "is not one of the choices", f"write one of {words}" if words else "remove it, for this protocol has none"


CHECKS: Final[tuple[loader.Check, ...]] = (check_protocols, check_sources, check_acme)
