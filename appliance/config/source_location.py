"""Where customers or related rows are: the path of a file, or an address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.config.values import parse_path


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """What the config says, and the file that it means unless it is an address."""

    text: str
    path: Path


def parse_source(value: object) -> SourceLocation:
    """Parse a location. Which kinds of source there are is checked by rules of another room (`schema.Check`)."""
    return SourceLocation(str(value), parse_path(value))
