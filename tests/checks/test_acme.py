"""The check of [acme]: each row of what it may find, with a network that only pretends, and one that does not."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.acme.caa import CaaRecords
from appliance.acme.problems import AcmeError
from appliance.acme.renewal import Problem, State
from appliance.acme.storage import Storage
from appliance.checks import acme as module
from appliance.checks.acme import Network
from appliance.checks.sockets import Listener
from tests.acme.authority import Authority
from tests.checks.running import context, run_check, told

NAME = "sidebar.example.com"
OURS = ipaddress.ip_address("93.184.216.34")
OURS_6 = ipaddress.ip_address("2606:2800:220:1::1")


def listening(*addresses: str, port: int = 443) -> Callable[[], list[Listener]]:
    return lambda: [Listener(ipaddress.ip_address(each), port, "1") for each in addresses]


@pytest.fixture
def network() -> Network:
    return Network(
        resolve=lambda _name: [OURS],
        is_local=lambda address: address in (OURS, OURS_6),
        listeners=listening("0.0.0.0"),
        caa=lambda _name: None,
    )


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    with Authority(tmp_path) as made:
        yield made


def found(folder: Path, authority: Authority, network: Network, more: str = "") -> list[tuple[str, str]]:
    """Return what the check finds, but for what it says of the certificate and of the directory's being there."""
    config = f'[acme]\ndomains = ["{NAME}"]\ndirectory = "{authority.url}"\nca = "{authority.ca}"\n{more}\n'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NETWORK", network)
        where = context(folder, server='listen = ["0.0.0.0:443"]', more=config)
        return told(run_check("acme", where))


def test_without_acme(tmp_path: Path) -> None:
    assert told(run_check("acme", context(tmp_path))) == [("ok", "not configured")]


def test_all_is_well(tmp_path: Path, authority: Authority, network: Network) -> None:
    assert found(tmp_path, authority, network) == [
        ("warning", f"{NAME} has no certificate yet; the service requests one when it runs"),
        ("ok", f"{authority.url} can be reached"),
        ("ok", f"{NAME} points here: {OURS}"),
    ]


@pytest.mark.parametrize("has_pair", [False, True])
@pytest.mark.parametrize("failed", [False, True])
def test_what_there_is_of_a_name(
    tmp_path: Path, authority: Authority, network: Network, *, has_pair: bool, failed: bool
) -> None:
    storage = Storage(tmp_path / "state" / "acme")
    (tmp_path / "state").mkdir()
    storage.prepare(NAME)
    if has_pair:
        storage.write_pair(NAME, b"a pair")
    if failed:
        storage.write_state(NAME, State(problem=Problem(kind="dns", sentence="no such name", at=0.0)))
    said = found(tmp_path, authority, network)[0]
    assert (
        said
        == {
            (False, False): ("warning", f"{NAME} has no certificate yet; the service requests one when it runs"),
            (False, True): (
                "warning",
                f"{NAME} has no certificate yet; the service requests one when it runs; the last attempt: no such name",
            ),
            (True, False): ("ok", f"{NAME} has a certificate, which is renewed automatically"),
            (True, True): (
                "warning",
                f"{NAME} has a certificate that could not be renewed; the last attempt: no such name",
            ),
        }[has_pair, failed]
    )


def nowhere(_name: str) -> list[module.Address]:
    raise OSError(-2, "Name or service not known")


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        pytest.param(
            {"resolve": nowhere}, "not_checked", f"{NAME} has no address here (Name or service not", id="no address"
        ),
        pytest.param(
            {"resolve": lambda _: [OURS, OURS_6]},
            "warning",
            f"has an AAAA record ({OURS_6}), but the service does not listen on IPv6",
            id="AAAA, and IPv4 alone",
        ),
        pytest.param(
            {"resolve": lambda _: [OURS], "listeners": listening("2606:2800:220:1::1")},
            "warning",
            f"has an A record ({OURS}), but the service does not listen on IPv4",
            id="A, and IPv6 alone",
        ),
        pytest.param(
            {"resolve": lambda _: [OURS_6, OURS], "listeners": listening("::")}, "ok", "points here", id="both"
        ),
        pytest.param(
            {"resolve": lambda _: [OURS], "listeners": lambda: []}, "ok", "points here", id="as server.listen says"
        ),
        pytest.param(
            {"is_local": lambda _: False},
            "not_checked",
            f"points to {OURS}, which is not an address of this machine; that is right if its ports are forwarded here",
            id="behind NAT",
        ),
    ],
)  # fmt: skip
def test_where_a_name_leads(
    tmp_path: Path, authority: Authority, network: Network, change: dict[str, object], status: str, says: str
) -> None:
    changed = replace(network, **change)  # type: ignore[arg-type]
    told_of_it = [each for each in found(tmp_path, authority, changed)[2:] if each[0] == status]
    assert any(says in sentence for _status, sentence in told_of_it), told_of_it


@pytest.mark.parametrize(
    ("addresses", "status", "says"),
    [
        ([], "warning", f"{NAME} has no address"),
        (
            ["10.0.0.5"],
            "warning",
            f"{NAME} points to 10.0.0.5, which cannot be reached from the internet; correct its A record",
        ),
        (["fe80::1", "93.184.216.34"], "warning", "has an AAAA record (fe80::1)"),
        (["93.184.216.34"], "ok", "points here"),
    ],
)
def test_where_a_name_leads_that_a_public_authority_asks(
    tmp_path: Path, network: Network, addresses: list[str], status: str, says: str
) -> None:
    def resolve(name: str) -> list[module.Address]:
        return [ipaddress.ip_address(each) for each in addresses] or nowhere(name)

    where = context(tmp_path, server='listen = ["0.0.0.0:443"]', more=f'[acme]\ndomains = ["{NAME}"]')
    said = list(module._name(where, NAME, replace(network, resolve=resolve), is_public=True))
    assert any(each.status == status and says in each.sentence for each in said), said


@pytest.mark.parametrize(
    ("listen", "held", "is_said"),
    [
        ("0.0.0.0:443", 0, False),
        ("0.0.0.0:8443", 0, True),
        ("0.0.0.0:8443", 443, False),
        ("127.0.0.1:8443", 8443, True),
    ],
)
def test_port_443_is_where_a_public_authority_asks(
    tmp_path: Path, network: Network, listen: str, held: int, *, is_said: bool
) -> None:
    where = context(tmp_path, server=f'listen = ["{listen}"]', more=f'[acme]\ndomains = ["{NAME}"]')
    changed = replace(network, listeners=listening("0.0.0.0", port=held))
    said = [each.sentence for each in module._ports(where, changed, is_public=True)]
    expected = (
        f"the authority connects to port 443, where nothing listens here; that is right if it is forwarded to {listen}"
    )
    assert said == [expected] * is_said


def test_a_directory_that_is_not_there(tmp_path: Path, authority: Authority, network: Network) -> None:
    authority.refuse = lambda _method, _path: (503, {}, b"")
    assert found(tmp_path, authority, network)[1] == ("warning", str(AcmeError("serverInternal", "HTTP 503")))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ('profile = "shortlved"', 'offers shortlived, and not the profile "shortlved"; correct acme.profile'),
        ('profile = "shortlived"', ""),
        ("", "name them in acme.eab"),
        ('challenges = ["http-01"]', "sidebard-http.socket"),
        ('challenges = ["http-01"]\nhttp = "127.0.0.1:8080"', ""),
    ],
)
def test_what_the_config_and_the_directory_say(
    tmp_path: Path, authority: Authority, network: Network, config: str, says: str
) -> None:
    authority.profiles = {"shortlived": "six days"}
    if "eab" in says:
        authority.external = {}
    warnings = [sentence for status, sentence in found(tmp_path, authority, network, config)[1:] if status == "warning"]
    assert len(warnings) == bool(says), warnings
    assert all(says in each for each in warnings)


def test_a_reload_asks_nobody(tmp_path: Path, authority: Authority, network: Network) -> None:
    config = f'[acme]\ndomains = ["{NAME}"]\ndirectory = "{authority.url}"\nca = "{authority.ca}"\n'
    found = told(run_check("acme", context(tmp_path, {"INVOCATION_ID": "1"}, more=config)))
    assert [status for status, _sentence in found] == ["warning", "not_checked"]
    assert authority.requests == []


def test_a_clock_that_is_wrong(tmp_path: Path, authority: Authority, network: Network) -> None:
    authority.date = "Tue, 21 Sep 2060 13:33:20 GMT"
    assert any(
        "minutes slow, compared with the authority's; set it" in sentence
        for _status, sentence in found(tmp_path, authority, network)
    )


@pytest.mark.parametrize(
    ("records", "says"),
    [
        (None, ""),
        (CaaRecords(NAME, ("authority.example",)), ""),
        (
            CaaRecords("example.com", ("other.example",)),
            f"the CAA records of example.com, which {NAME} inherits, allow only other.example; add one with 0 issue"
            ' "authority.example"',
        ),
        (CaaRecords(NAME, ()), f"the CAA records of {NAME}, allow no authority"),
    ],
)
def test_caa(tmp_path: Path, authority: Authority, network: Network, records: CaaRecords | None, says: str) -> None:
    authority.caa_identities = ["authority.example"]
    told_of_it = found(tmp_path, authority, replace(network, caa=lambda _name: records))[3:]
    assert len(told_of_it) == bool(says)
    assert all(status == "warning" and says in sentence for status, sentence in told_of_it), told_of_it


@pytest.mark.parametrize(
    ("config", "status", "says"),
    [
        (
            'account_key = "credential:acme"',
            "not_checked",
            "acme.account_key: credential:acme: systemd passes it",
        ),
        ('eab = "file:eab"', "fault", "file:eab cannot be read"),
    ],
)
def test_secrets_are_where_the_config_says(
    tmp_path: Path, authority: Authority, network: Network, config: str, status: str, says: str
) -> None:
    said = found(tmp_path, authority, network, config)
    assert any(each == status and says in sentence for each, sentence in said), said
