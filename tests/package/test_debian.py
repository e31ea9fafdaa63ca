"""The package on real machines, Debian 12 and 13: installed by README's own words, then restarted, killed and upgraded
while cards are asked for.

The socket holds what comes in meanwhile: nothing may fail but the requests that a killed process had running.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from appliance.observe.logs import PRIORITIES
from tests.acme.pebble import MISSING, Pebble
from tests.daemon import ROOT, until
from tests.factory import CUSTOMERS, SECRET, write_csv
from tests.package.conftest import DIST
from tests.package.machine import CHILDREN, MORE, Machine

NAME = "sidebar.example.com"  # as in README
RUNNING = 2  # requests, one of each side that asks


def readme_commands() -> list[str]:
    """Give the commands of README's "Install on a VM", word for word: three to the first card, and one that asks."""
    section = (ROOT / "README.md").read_text().partition("## Install on a VM\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def machine(request, package, tmp_path_factory):
    """Give a machine with the operator's files in /root; the tests below go on where the one before has ended."""
    place = tmp_path_factory.mktemp(request.param)
    machine = Machine(request.param, place)
    try:
        home = machine.root / "root"
        shutil.copy(package, home)
        shutil.copy(ROOT / "dist" / "SHA256SUMS", home)
        write_csv(home / "customers.csv", [*CUSTOMERS, ("ada@example.com", "Ada", "Pro")])
        make_pair(home)
        yield machine
    finally:
        machine.stop()


def make_pair(folder: Path, name: str = NAME) -> None:
    """Write a certificate and its key."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "90", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    files = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)


ANSWERS = (
    (r"Name of this server.*: ", NAME),
    (r"Certificate .*\[acme\]: ", "fullchain.pem"),
    (r"Card .*licences, saas, shop.*\[built-in\]: ", ""),
    (r"Status page .*: ", ""),
)
MOST_SECONDS = 60


def test_from_the_download_to_the_first_card(machine, measured):
    """Three commands, by the words of the README, and little time; everything ends where the service can read it."""
    install, init, start, ask = readme_commands()
    machine.run(f"echo '127.0.0.1 {NAME}' >> /etc/hosts")  # an operator has the name in the DNS
    began = time.monotonic()
    machine.run(install)
    said = machine.answer(init, ANSWERS)
    started = machine.run(start)
    seconds = time.monotonic() - began
    measured(commands=3, seconds=f"{seconds:.1f}")
    assert seconds < MOST_SECONDS
    assert "The card of the first customer, ann@example.com:" in said
    assert "Copied /root/customers.csv to /var/lib/sidebard-data/customers.csv" in said
    assert f"Callback URL  https://{NAME}/helpscout" in said
    assert said.rstrip().endswith(f"Next: {start.strip()}"), said
    files = "/etc/sidebard/* /var/lib/sidebard-data/customers.csv"
    modes = machine.run(f"stat --format='%a %U:%G' {files}").splitlines()
    assert modes == ["640 root:sidebard"] * 5
    assert started.count("Created symlink") == 2
    machine.run("cp /etc/sidebard/fullchain.pem /usr/local/share/ca-certificates/own.crt && update-ca-certificates")
    answer = machine.run(ask)
    assert "Ada" in answer, answer
    # The first worker answers before the last is ready.
    until(lambda: machine.property("sidebard.service", "ActiveState") == "active", "the end of the start")
    assert machine.property("sidebard.service", "NotifyAccess") == "all"
    machine.run("sha256sum --check --ignore-missing SHA256SUMS")
    # What asks in the tests below has a secret of its own.
    (machine.root / "etc/sidebard/secret").write_text(SECRET)
    machine.run("systemctl reload sidebard")


def test_init_never_replaces_what_it_has_written(machine):
    before = machine.run("cat /etc/sidebard/*")
    said = machine.run("sidebard init customers.csv --yes", check=False)
    assert "/etc/sidebard/sidebard.toml exists; add --force" in said
    assert machine.run("cat /etc/sidebard/*") == before


@pytest.mark.parametrize("unit", ["sidebard.service", "sidebard.socket", "sidebard-http.socket"])
def test_the_units_are_sound(machine, unit):
    assert machine.run(f"systemd-analyze verify --man=no /usr/lib/systemd/system/{unit}").strip() == ""


def test_the_exposure_is_small(machine, measured):
    """1.5 at most; systemd-analyze counts in tenths and exits with 1 above its threshold."""
    said = machine.run("systemd-analyze security --offline=yes --threshold=15 /usr/lib/systemd/system/sidebard.service")
    (line,) = [line for line in said.splitlines() if "Overall exposure" in line]
    measured(exposure=line.split(":")[1].split()[0])


# What is done to it while cards are asked for.


def restart(machine):
    machine.run("systemctl restart sidebard.service")


def reload(machine):
    before = _count(machine, "reloaded")
    machine.run("systemctl reload sidebard.service")
    until(lambda: _count(machine, "reloaded") > before, "the reload")


def upgrade(machine):
    """Install the same package with another version number, as apt would."""
    main = machine.property("sidebard.service", "MainPID")
    machine.run(
        "dpkg-deb --raw-extract sidebard_*.deb next && sed -i 's/^Version: .*/Version: 99.0/' next/DEBIAN/control"
    )
    machine.run("dpkg-deb --build --root-owner-group -Znone next next.deb && dpkg --install next.deb && rm -r next")
    assert machine.property("sidebard.service", "MainPID") != main


def upgrade_from_one_file(machine):
    """Install this package over one that has the one file as /usr/bin/sidebard, as the first did."""
    shutil.copy(DIST / "sidebard", machine.root / "root/one-file")
    machine.run(
        "dpkg-deb --raw-extract sidebard_*.deb old && sed -i 's/^Version: .*/Version: 0.0.1/' old/DEBIAN/control"
        " && rm -r old/usr/lib/sidebard old/usr/bin/sidebard old/DEBIAN/md5sums && mv one-file old/usr/bin/sidebard"
    )
    machine.run("dpkg-deb --build --root-owner-group -Znone old old.deb && dpkg --install old.deb && rm -r old old.deb")
    assert len(machine.family().children) >= CHILDREN
    assert machine.run("find /var/cache/sidebard -maxdepth 1 -name '_MEI*'").strip()
    machine.run("dpkg --install sidebard_*.deb")
    assert machine.run("readlink /usr/bin/sidebard").strip() == "../lib/sidebard/sidebard"
    family = until(lambda: found if (found := machine.family()).main == found.supervisor else None, "the new version")
    assert len(family.children) >= CHILDREN
    assert machine.run("find /var/cache/sidebard -maxdepth 1 -name '_MEI*'").strip() == ""


def kill_worker(machine):
    family = machine.family()
    workers = [pid for pid in family.children if _holds_port(pid)]
    os.kill(workers[0], signal.SIGKILL)
    until(lambda: set(machine.family().children) - set(family.children), "another worker")


def kill_supervisor(machine):
    supervisor = machine.family().supervisor
    os.kill(supervisor, signal.SIGKILL)
    _wait_for_another(machine, supervisor)


@pytest.mark.parametrize(
    ("event", "may_fail"),
    [
        (restart, 0),
        (reload, 0),
        (upgrade, 0),
        (upgrade_from_one_file, 0),
        (kill_worker, RUNNING),
        # Workers die one after another: a side may lose a request in each.
        (kill_supervisor, RUNNING * (os.cpu_count() or 1)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_nothing_is_lost_while(machine, event, may_fail, measured):
    with machine.asked() as outcome:
        event(machine)
    measured(answered=outcome["answered"], failed=len(outcome["failed"]), slowest=f"{outcome['slowest']:.2f} s")
    assert len(outcome["failed"]) <= may_fail, outcome
    assert outcome["answered"] > 10


def test_the_journal_has_one_object_a_line(machine):
    """Of every process of the unit: also of those that a reload runs."""

    def events():
        lines = machine.run("journalctl --output=cat --unit=sidebard.service _COMM=sidebard").splitlines()
        return {json.loads(line).get("event", "check") for line in lines}

    until(lambda: {"serving", "request", "reloaded", "check"} <= events(), "all kinds of lines")


def test_the_journal_has_the_level_of_each_line(machine):
    lines = machine.run("journalctl --output=json --unit=sidebard.service _COMM=sidebard").splitlines()
    for entry in map(json.loads, lines):
        event = json.loads(entry["MESSAGE"])
        if "level" in event:
            assert f"<{entry['PRIORITY']}>".encode() == PRIORITIES[event["level"]], event
    said = machine.run("journalctl --output=cat --unit=sidebard.service --priority=err _COMM=sidebard")
    assert "worker_died" in said
    assert "request" not in {json.loads(line).get("event") for line in said.splitlines()}


def test_a_stuck_supervisor_is_replaced_by_the_watchdog(machine):
    _drop_in(machine, "[Service]\nWatchdogSec=3\n")
    machine.run("systemctl restart sidebard.service")
    supervisor = machine.family().supervisor
    os.kill(supervisor, signal.SIGSTOP)
    _wait_for_another(machine, supervisor)
    shutil.rmtree(machine.root / "etc/systemd/system/sidebard.service.d")
    machine.run("systemctl daemon-reload && systemctl restart sidebard.service")


def test_a_wrong_config_is_refused_by_reload_and_not_restarted(machine):
    config = machine.root / "etc/sidebard/sidebard.toml"
    good = config.read_text()
    config.write_text(good + 'colour = "red"\n')
    try:
        said = machine.run("systemctl reload sidebard.service", check=False)
        assert "Job for sidebard.service failed" in said
        assert ".colour" in machine.run("journalctl --output=cat --unit=sidebard.service --priority=err -n 20")
        assert machine.run("systemctl is-active sidebard.service").strip() == "active"
        machine.run("systemctl restart sidebard.service", check=False)
        assert machine.property("sidebard.service", "ExecMainStatus") == "78"
        until(lambda: machine.property("sidebard.service", "ActiveState") == "failed", "the end of the pause")
        assert machine.property("sidebard.service", "NRestarts") == "0"
    finally:
        config.write_text(good)
    machine.run("systemctl restart sidebard.service")


_KNOCK = "for i in $(seq 50); do curl --silent --insecure --max-time 1 https://127.0.0.1/ >/dev/null & done; wait"


def test_a_wrong_config_never_closes_the_port(machine):
    """Connections that wait in the socket start the service again and again: slowly, and without a limit."""
    config = machine.root / "etc/sidebard/sidebard.toml"
    good = config.read_text()
    machine.run("systemctl stop sidebard.service")
    config.write_text(good + "colour = = red\n")
    before = _count(machine, "config_fault")
    try:
        machine.run(_KNOCK, check=False)
        until(lambda: _count(machine, "config_fault") - before >= 2, "the second try", 40)
        assert _count(machine, "config_fault") - before <= 3
        assert machine.property("sidebard.socket", "ActiveState") == "active"
    finally:
        config.write_text(good)
    machine.run("systemctl restart sidebard")
    with machine.asked() as outcome:
        pass
    assert outcome["failed"] == []


def test_a_failed_start_is_tried_again_later(machine):
    certificate = machine.root / "etc/sidebard/fullchain.pem"
    good = certificate.read_bytes()
    certificate.write_bytes(b"nothing")
    try:
        machine.run("systemctl restart sidebard.service", check=False)
        assert machine.property("sidebard.service", "ExecMainStatus") == "3"
        assert machine.property("sidebard.service", "SubState") in ("stop-post", "auto-restart")
    finally:
        certificate.write_bytes(good)
    until(lambda: machine.property("sidebard.service", "ActiveState") == "active", "the next try", 40)


def test_a_secret_for_root_alone_as_a_credential(machine):
    """`check`, which the unit runs at a reload, sees the credentials as the service does."""
    config = machine.root / "etc/sidebard/sidebard.toml"
    good = config.read_text()
    config.write_text(good.replace("file:secret", "credential:secret"))
    machine.run("chown root:root /etc/sidebard/secret && chmod 600 /etc/sidebard/secret")
    machine.run("systemctl restart sidebard.service && systemctl reload sidebard.service")
    with machine.asked() as outcome:
        pass
    assert outcome["failed"] == []
    machine.run("rm /etc/sidebard/secret && systemctl restart sidebard.service", check=False)
    said = machine.run("journalctl --output=cat --unit=sidebard.service -n 5")
    assert "credential:secret is empty" in said
    config.write_text(good)
    (machine.root / "etc/sidebard/secret").write_text(SECRET)
    machine.run("chgrp sidebard /etc/sidebard/secret && chmod 640 /etc/sidebard/secret")
    machine.run("systemctl restart sidebard.service")


@pytest.fixture
def pebble(machine, tmp_path):
    """Give an authority that runs in the machine's network."""
    assert MISSING == [], "apt-get install pebble"
    config, ca = machine.root / "etc/sidebard/sidebard.toml", machine.root / "etc/sidebard/pebble.pem"
    good = config.read_text()
    with Pebble(tmp_path / "pebble", tls_port=443, http_port=80, within=machine.network) as pebble:
        shutil.copy(pebble.ca, ca)
        machine.run("echo '127.0.0.1 localhost' >> /etc/hosts")
        yield pebble
    config.write_text(good)
    ca.unlink()
    machine.run("systemctl restart sidebard.service")


def _write_acme(machine: Machine, pebble: Pebble, *names: str, more: str = "") -> None:
    """Write a config whose certificates come from this authority."""
    config = machine.root / "etc/sidebard/sidebard.toml"
    section = f'[acme]\ndomains = {json.dumps(names)}\ndirectory = "{pebble.url}"\nca = "pebble.pem"\n{more}'
    config.write_text(re.sub(r"\[(?:tls|acme)\]\n(?:.+\n)+", section, config.read_text()))


def test_certificates_from_an_authority(machine, pebble, measured):
    """The first one, a renewal and one whose order a reload falls into, while cards are asked for; one by port 80."""
    acme = machine.root / "var/lib/sidebard/acme"
    write = functools.partial(_write_acme, machine, pebble)

    def issued(number):
        until(lambda: _count(machine, "certificate_renewed") == number, f"certificate {number}")

    try:
        write(NAME)
        machine.run("systemctl restart sidebard.service")
        with machine.asked() as outcome:
            issued(1)
            (acme / NAME / "pair.pem").unlink()
            issued(2)
            write(NAME, f"second.{NAME}")
            supervisor = machine.family().supervisor
            os.kill(supervisor, signal.SIGHUP)
            until((acme / f"second.{NAME}" / "order.json").exists, "an order")
            os.kill(supervisor, signal.SIGHUP)
            issued(3)
            until(lambda: "Pebble" in _served(machine, NAME), "the certificate in use")
        assert outcome["failed"] == []
        machine.run("systemctl enable sidebard-http.socket && systemctl restart sidebard.service")
        said = machine.run(
            "curl --silent --output /dev/null --write-out '%{http_code} %{redirect_url}' http://localhost/a"
        )
        assert said == f"308 https://{NAME}/a"
        write(NAME, f"third.{NAME}", more='challenges = ["http-01"]\n')
        machine.run("systemctl reload sidebard.service")
        issued(4)
        assert (pebble.issued, list((acme / "challenges").iterdir())) == (4, [])
        assert _count(machine, "certificate_renewal_failed") == 0
        assert {file.stat().st_mode & 0o777 for file in acme.rglob("*.pem")} == {0o600}
    finally:
        machine.run("systemctl disable --now sidebard-http.socket")
    measured(answered=outcome["answered"], failed=len(outcome["failed"]), slowest=f"{outcome['slowest']:.2f} s")


def test_a_reboot_without_a_request_afterwards(machine, pebble, measured):
    """With [acme] the service runs from the start: what it had is served, and what it has not yet is asked for."""
    had, new = f"had.{NAME}", f"new.{NAME}"
    _write_acme(machine, pebble, had)
    machine.run("systemctl restart sidebard.service")
    until(lambda: "Pebble" in _served(machine, had), "the certificate in use")
    before = _served(machine, had)
    _write_acme(machine, pebble, had, new)
    began = time.monotonic()
    machine.reboot()
    measured(seconds=f"{time.monotonic() - began:.1f}")
    assert machine.property("sidebard.service", "ActiveState") == "active"
    issued = machine.root / "var/lib/sidebard/acme" / new / "pair.pem"
    until(issued.exists, "the certificate that was missing")
    assert _served(machine, had) == before
    until(lambda: "Pebble" in _served(machine, new), "the new certificate in use")
    assert pebble.issued == 2


def _served(machine: Machine, name: str) -> str:
    """Return what says which certificate is in use for a name."""
    asked = f"echo | openssl s_client -connect localhost:443 -servername {name} 2>/dev/null"
    return machine.run(f"{asked} | openssl x509 -noout -issuer -serial", check=False)


def test_logrotate_rotates_the_audit_trail_of_the_running_service(machine):
    """By the packaged file, as the service's user, without a signal; every card that was asked for has its line."""
    assert (machine.root / "etc/logrotate.d/sidebard").is_file()
    if "logrotate" not in MORE.get(machine.release, ()):
        return
    config = machine.root / "etc/sidebard/sidebard.toml"
    good = config.read_text()
    config.write_text(good + '\n[log]\ntrail = "/var/lib/sidebard/trail"\n')
    machine.run("systemctl restart sidebard.service")
    folder = machine.root / "var/lib/sidebard"
    with machine.asked() as outcome:
        for number in range(1, 4):
            until(lambda: (folder / "trail").exists() and (folder / "trail").stat().st_size, "lines")
            machine.run("logrotate --force /etc/logrotate.d/sidebard")
            until(lambda: len(list(folder.glob("trail.*"))) == number, "the rotation")  # noqa: B023
    assert outcome["failed"] == []
    machine.run("systemctl stop sidebard.service")
    assert machine.run("journalctl --output=cat --unit=sidebard.service | grep -c trail_ || true").strip() == "0"
    assert {file.stat().st_mode & 0o777 for file in folder.glob("trail*")} == {0o600}
    found = machine.run("cd /var/lib/sidebard && cat trail trail.1 && zcat trail.*.gz").splitlines()
    assert all(line.startswith('{"timestamp":') and line.endswith("}") for line in found)
    assert len(found) >= outcome["answered"]
    config.write_text(good)
    machine.run("systemctl restart sidebard.service")


def test_remove_purge_reinstall(machine):
    config = machine.root / "etc/sidebard/sidebard.toml"
    config.write_text(config.read_text() + "# mine\n")
    machine.run("apt-get remove --yes sidebard")
    assert not [path for path in ("usr/bin/sidebard", "usr/lib/sidebard") if os.path.lexists(machine.root / path)]
    assert not re.search(":01BB [0-9A-F:]+ 0A", machine.run("cat /proc/net/tcp /proc/net/tcp6")), "443 is open"
    assert config.read_text().endswith("# mine\n")
    assert (machine.root / "var/lib/sidebard").is_dir()
    machine.run("dpkg --install ./sidebard_*_amd64.deb")
    assert config.read_text().endswith("# mine\n")
    machine.run("systemctl enable --now sidebard.socket")
    with machine.asked() as outcome:
        pass
    assert outcome["failed"] == []
    machine.run("apt-get purge --yes sidebard")
    left = machine.run("find / -xdev -name '*sidebard*' -not -path '/root/*' -not -path '/var/log/*'").split()
    left = [path for path in left if not path.startswith(("/proc", "/sys", "/run"))]
    assert set(left) == {"/etc/sidebard", "/var/lib/sidebard-data"}  # with the operator's own files
    assert {path.name for path in (machine.root / "etc/sidebard").iterdir()} == {
        "fullchain.pem",
        "privkey.pem",
        "secret",
    }


def _count(machine: Machine, event: str) -> int:
    return machine.run("journalctl --output=cat --unit=sidebard.service").count(f'"event":"{event}"')


def _wait_for_another(machine: Machine, supervisor: int) -> None:
    until(lambda: machine.family().supervisor != supervisor, "another supervisor")


def _holds_port(pid: int) -> bool:
    """Whether a process listens on port 443, which the steward does not."""
    rows = Path(f"/proc/{pid}/net/tcp6").read_text().splitlines()[1:]
    listening = {
        f"socket:[{row.split()[9]}]" for row in rows if row.split()[1].endswith(":01BB") and row.split()[3] == "0A"
    }
    return any(os.readlink(file) in listening for file in Path(f"/proc/{pid}/fd").iterdir())


def _drop_in(machine: Machine, text: str) -> None:
    folder = machine.root / "etc/systemd/system/sidebard.service.d"
    folder.mkdir(exist_ok=True)
    (folder / "test.conf").write_text(text)
    machine.run("systemctl daemon-reload")
