"""The archive on a real machine without the package: its own INSTALL, word for word."""

from __future__ import annotations

import os
import re
import shutil
import signal

import pytest

from tests.daemon import until
from tests.factory import CUSTOMERS, SECRET, write_csv
from tests.package.conftest import DIST
from tests.package.machine import Machine
from tests.package.test_debian import NAME, make_pair, readme_commands


@pytest.fixture
def machine(executable, tmp_path):
    """Return a machine on which the archive is unpacked, with the operator's files beside it."""
    (archive,) = DIST.glob("sidebard-*-linux-*.tar.gz")
    machine = Machine("bookworm", tmp_path)
    try:
        shutil.unpack_archive(archive, machine.root / "root")
        folder = machine.root / "root" / archive.name.removesuffix(".tar.gz")
        write_csv(folder / "customers.csv", [*CUSTOMERS, ("ada@example.com", "Ada", "Pro")])
        (folder / "secret").write_text(SECRET + "\n")
        make_pair(folder)
        machine.run(f"echo '127.0.0.1 {NAME}' >> /etc/hosts")
        machine.run(f"cp /root/{folder.name}/fullchain.pem /usr/local/share/ca-certificates/own.crt")
        machine.run("update-ca-certificates")
        yield machine, folder
    finally:
        machine.stop()


def test_the_archive_is_installed_by_its_own_words(machine):
    machine, folder = machine
    commands = re.findall(r"```sh\n(.*?)```", (folder / "INSTALL").read_text(), re.DOTALL)
    assert len(commands) == 3
    for command in commands:
        machine.run(command, folder=f"/root/{folder.name}")
    assert "Ada" in machine.run(readme_commands()[3])  # the request that README prints
    assert machine.run("systemctl is-enabled sidebard.socket").strip() == "enabled"
    assert machine.run("stat --format='%a %U:%G' /etc/sidebard").strip() == "750 root:sidebard"
    main = machine.property("sidebard.service", "MainPID")
    with machine.asked() as outcome:  # a new version, as INSTALL says
        machine.run(f"{commands[0].splitlines()[0]}; systemctl restart sidebard", folder=f"/root/{folder.name}")
    assert outcome["failed"] == []
    assert machine.property("sidebard.service", "MainPID") != main
    bootloader, supervisor, _ = machine.family()
    os.kill(bootloader, signal.SIGKILL)
    until(lambda: machine.family().supervisor != supervisor, "another supervisor")
    until(lambda: len(machine.run("find /var/cache/sidebard -name '_MEI*' -prune -print").split()) == 1, "one folder")
