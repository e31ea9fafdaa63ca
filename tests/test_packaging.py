"""What goes into the packages, as far as it can be read here; tests/package tries them."""

import configparser
import re

from appliance.config import load
from tests.daemon import ROOT


def test_the_packaged_config_is_a_good_one():
    """Its defaults are the paths that the unit and README name."""
    settings = load(ROOT / "packaging/etc/sidebard.toml", {})
    assert str(settings.server.state) == "/var/lib/sidebard"
    assert str(settings.customers.source) == "/var/lib/sidebard-data/customers.csv"


def test_what_is_pinned_is_what_is_asked_for():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    pins = dict(re.findall(r"^([\w.-]+)==([\d.]+)", (ROOT / "packaging/requirements.txt").read_text(), re.MULTILINE))
    for name, least in re.findall(r"^([\w-]+)>=([\d.]+)", config["options"]["install_requires"], re.MULTILINE):
        assert _numbers(pins[name]) >= _numbers(least), f"make requirements: {name}"


def _numbers(version):
    return [int(part) for part in version.split(".")]
