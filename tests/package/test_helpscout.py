"""The package, set up by README's words and then by docs/helpscout.md's: its three requests on port 443."""

from __future__ import annotations

import json
import re
import shlex
import shutil

import pytest

from tests.daemon import ROOT
from tests.factory import SECRET, write_csv
from tests.package.machine import Machine
from tests.package.test_debian import ANSWERS, NAME, make_pair, readme_commands

TEXT = (ROOT / "docs/helpscout.md").read_text("utf-8")
(TOML,) = (text for text in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL) if "[app.page]" in text)
(SIGN,) = re.findall(r"`(sidebard sign --page '\S+')`", TEXT)
ROWS = [("email", "name", "helpscout_id"), ("ada@example.com", "Ada", "604417723"), ("bo@example.com", "Bo", "")]
EVENT = {"id": 7, "_embedded": {"emails": [{"value": "bo@example.com"}]}}


@pytest.fixture(scope="module")
def machine(package, tmp_path_factory):
    """Return a machine on which README's commands were run, and the document's lines are in the config."""
    machine = Machine("trixie", tmp_path_factory.mktemp("helpscout"))
    try:
        home = machine.root / "root"
        shutil.copy(package, home)
        shutil.copy(ROOT / "dist" / "SHA256SUMS", home)
        write_csv(home / "customers.csv", ROWS)
        (home / "secret").write_text(SECRET)
        (home / "page-secret").write_text("the page's secret of tests")
        make_pair(home)
        install, init, start, _ = readme_commands()
        machine.run(install)
        machine.run("install --group=sidebard --mode=640 secret page-secret /etc/sidebard")
        machine.answer(init, ANSWERS)
        config = machine.root / "etc/sidebard/sidebard.toml"
        before, app, _ = config.read_text().partition("\n[helpscout]")
        assert app
        config.write_text(f"{before}\n{TOML}")
        machine.run(start)
        machine.run(f"echo '127.0.0.1 {NAME}' >> /etc/hosts")
        machine.run("cp /etc/sidebard/fullchain.pem /usr/local/share/ca-certificates/own.crt && update-ca-certificates")
        yield machine
    finally:
        machine.stop()


def look(machine: Machine, command: str) -> str:
    """Load the page whose URL a command prints."""
    return machine.run(f'curl -sS -H "Sec-Fetch-Dest: iframe" "$({command.replace("your.name", NAME)})"')


def test_a_message_to_the_legacy_app_and_the_page_show_the_same_card(machine):
    legacy = machine.run(readme_commands()[3]).splitlines()
    assert legacy[-1] == "200"
    card = json.loads(legacy[0])["html"]
    assert "<h4>Ada</h4>" in card
    assert card in look(machine, SIGN)


def test_a_webhook_teaches_an_id(machine):
    other = SIGN.replace("604417723", "7")
    assert "Customer not known yet" in look(machine, other)
    body = json.dumps(EVENT)
    signature = machine.run(f"printf %s {shlex.quote(body)} | sidebard sign").strip()
    fields = ("X-HelpScout-Event: customer.updated", f"X-HelpScout-Signature: {signature}")
    given = " ".join(f"-H {shlex.quote(field)}" for field in fields)
    url = f"https://{NAME}/helpscout"
    assert machine.run(f"curl -sS {given} --data-binary {shlex.quote(body)} {url}") == "Noted.\n"
    assert "<h4>Bo</h4>" in look(machine, other)
    assert machine.run("sidebard ids 7").strip() == "7: bo@example.com"


def test_nothing_went_wrong(machine):
    lines = [json.loads(line) for line in machine.journal() if line.startswith("{")]
    assert [line for line in lines if line["level"] in ("error", "critical")] == []
    assert "604417723" not in json.dumps(lines)
