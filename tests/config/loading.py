"""A config file of a test: written, loaded, and what is said to be wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.bootstrap import settings
from appliance.config.reader import ConfigError
from appliance.config.schema import Settings

SHIPPED = Path(__file__).parents[2] / "conf" / "sidebard.toml"
ENVIRON = {"HOME": "/home/op"}
MINIMAL = '[customers]\nsource = "c.csv"\naddresses = ["email"]\n[[app]]\nsecrets = ["file:secret"]\n'


def load(folder: Path, text: str | bytes = MINIMAL, environ: dict[str, str] = ENVIRON) -> Settings:
    file = folder / "sidebard.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return settings.load(file, environ)


def faults(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return str(caught.value).replace(f"{folder}/", "")
