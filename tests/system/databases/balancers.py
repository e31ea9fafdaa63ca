"""Balancers of docs/several-nodes.md, as they are configured there, before nodes on addresses of loopback."""

from __future__ import annotations

import csv
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.daemon import ROOT, until
from tests.ports import free_port

DOCS = ROOT / "docs" / "several-nodes.md"
OWN = "127.0.0.5"
"""From where a balancer connects to the nodes."""

SERVERS = ("one", "two")
"""What HAProxy calls the nodes."""

STATS = "haproxy.sock"

_AROUND_NGINX = """load_module {modules}/ngx_stream_module.so;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
{block}
"""


def block_of(language: str) -> str:
    """Return the block of the docs in this language."""
    found = re.search(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def program(name: str) -> str:
    """Return where it is."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, f"no {name}; apt-get install {name}"
    return found


def haproxy(folder: Path, text: str) -> list[str]:
    """Write its config; return the command that runs it."""
    text = text.replace("send-proxy-v2", f"send-proxy-v2 source {OWN}")
    text = text.replace("global\n", f"global\n    stats socket {folder / STATS}\n")
    (folder / "haproxy.cfg").write_text(text)
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


def wait_for_status(folder: Path, server: str, status: str) -> None:
    """Wait until HAProxy takes a server for "UP" or "DOWN", and not on its way there."""
    until(lambda: _status(folder, server) == status, f"{server} to be {status}")


def _status(folder: Path, server: str) -> str:
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(str(folder / STATS))
        asked.sendall(b"show stat\n")
        with asked.makefile() as answer:
            rows = csv.DictReader(answer)
            return next(row["status"] for row in rows if row["svname"] == server)


def nginx(folder: Path, text: str) -> list[str]:
    """Write its config; return the command that runs it."""
    block = text.replace("proxy_pass", f"proxy_bind {OWN}; proxy_pass")
    (folder / "nginx.conf").write_text(
        _AROUND_NGINX.format(modules="/usr/lib/nginx/modules", folder=folder, block=block)
    )
    return [program("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)]


BALANCERS = {"haproxy": haproxy, "nginx": nginx}


@contextmanager
def balancer(name: str, folder: Path, nodes: Sequence[str]) -> Iterator[int]:
    """Run this balancer before two nodes; return its port on 127.0.0.1."""
    port = free_port()
    text = re.sub(r"(bind|listen) :?443", rf"\1 127.0.0.1:{port}", block_of(name))
    for named, node in zip(("10.0.0.11:443", "10.0.0.12:443"), nodes, strict=True):
        assert named in text
        text = text.replace(named, node)
    command = BALANCERS[name](folder, text)
    with (folder / f"{name}.out").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        until(lambda: _listens(port) or process.poll() is not None, name)
        assert process.poll() is None, (folder / f"{name}.out").read_text()
        yield port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    wanted = f"0100007F:{port:04X}"
    return any(
        row.split()[1] == wanted and row.split()[3] == "0A" for row in Path("/proc/net/tcp").read_text().splitlines()
    )
