"""The listening sockets that the service opens itself; test_startup.py has those that systemd passes."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.bootstrap.sockets import Sockets, bind_hint, format_address, is_local, open_sockets
from appliance.config.endpoint import Endpoint
from appliance.config.loader import from_flags
from appliance.config.schema import Settings
from appliance.errors import StartError
from tests.conftest import Logged
from tests.factory import write_csv
from tests.ports import free_port

IN_USE = "cannot listen: Address already in use; set {} to another address, or stop the process that listens there"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "secret").write_text("a secret of the tests")
    made = from_flags(write_csv(tmp_path / "customers.csv"), tmp_path / "secret", {"HOME": str(tmp_path)}, tmp_path)
    return with_endpoints(made, free_endpoint(), free_endpoint())


def with_endpoints(settings: Settings, public: Endpoint, admin: Endpoint | None) -> Settings:
    """Return settings of a config file that listen there."""
    server, pages = replace(settings.server, listen=(public,)), replace(settings.admin, listen=admin)
    return replace(settings, server=server, admin=pages, file=Path("sidebard.toml"))


def free_endpoint() -> Endpoint:
    return Endpoint("127.0.0.1", free_port())


def unix(file: Path) -> Endpoint:
    return Endpoint("", 0, file)


@pytest.fixture
def taken() -> Iterator[Endpoint]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Endpoint("127.0.0.1", listening.getsockname()[1])


@pytest.fixture
def taken_file(tmp_path: Path) -> Iterator[Endpoint]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "taken.sock"))
        listening.listen()
        yield unix(tmp_path / "taken.sock")


def closed(sockets: Sockets) -> None:
    sockets.close()
    assert {each.fileno() for each in (*sockets.public, *sockets.admin)} == {-1}


def test_opens_what_the_config_names(settings: Settings) -> None:
    opened = open_sockets(settings, {})
    assert [format_address(each) for each in opened.public] == [str(settings.server.listen[0])]
    assert [format_address(each) for each in opened.admin] == [str(settings.admin.listen)]
    closed(opened)
    without_admin = open_sockets(with_endpoints(settings, settings.server.listen[0], None), {})
    assert without_admin.admin == ()
    closed(without_admin)


@pytest.mark.parametrize("kind", ["taken", "taken_file"])
@pytest.mark.parametrize("key", ["server.listen", "admin.listen"])
def test_an_address_in_use_is_named_and_nothing_stays_open(
    key: str, kind: str, settings: Settings, request: pytest.FixtureRequest
) -> None:
    used = request.getfixturevalue(kind)
    free = settings.server.listen[0]
    public, admin = (used, free) if key == "server.listen" else (free, used)
    with pytest.raises(StartError) as caught:
        open_sockets(with_endpoints(settings, public, admin), {})
    assert str(caught.value) == f"{used}: {IN_USE.format(key)}"
    closed(open_sockets(with_endpoints(settings, free, None), {}))
    if used.unix is not None:
        assert used.unix.exists()


def test_without_a_config_the_admin_pages_may_be_missing(taken: Endpoint, settings: Settings, logged: Logged) -> None:
    """Nobody could name another port."""
    opened = open_sockets(replace(with_endpoints(settings, settings.server.listen[0], taken), file=None), {})
    assert opened.admin == ()
    assert str(logged.take("admin_pages_off")["why"]).startswith(f"{taken}: cannot listen")
    closed(opened)


def test_a_unix_socket_takes_the_place_of_one_that_is_dead(settings: Settings, tmp_path: Path) -> None:
    for name in ("public.sock", "admin.sock"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / name))
    opened = open_sockets(with_endpoints(settings, unix(tmp_path / "public.sock"), unix(tmp_path / "admin.sock")), {})
    assert [format_address(each) for each in opened.public] == [f"unix:{tmp_path}/public.sock"]
    modes = [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("public.sock", "admin.sock")]
    assert modes == [0o660, 0o600]
    assert all(is_local(each) for each in (*opened.public, *opened.admin))
    closed(opened)


@pytest.mark.parametrize(
    ("family", "host", "address", "local"),
    [
        pytest.param(socket.AF_INET, "127.0.0.2", "127.0.0.2:{}", True, id="IPv4 loopback"),
        pytest.param(socket.AF_INET, "0.0.0.0", "0.0.0.0:{}", False, id="IPv4, all"),
        pytest.param(socket.AF_INET6, "::1", "[::1]:{}", True, id="IPv6 loopback"),
        pytest.param(socket.AF_INET6, "::", "[::]:{}", False, id="IPv6, all"),
    ],
)
def test_an_address_as_text_and_whether_others_can_reach_it(
    family: socket.AddressFamily, host: str, address: str, local: bool
) -> None:
    with socket.socket(family) as bound:
        bound.bind((host, 0))
        assert (format_address(bound), is_local(bound)) == (address.format(bound.getsockname()[1]), local)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EACCES, "ports below 1024 need a socket unit of systemd, or root"),
        (errno.EADDRINUSE, "set server.listen to another address, or stop the process that listens there"),
        (errno.EADDRNOTAVAIL, "set server.listen to an address of this machine"),
    ],
)
def test_what_to_do(number: int, hint: str) -> None:
    assert bind_hint(OSError(number, os.strerror(number)), "server.listen") == hint
