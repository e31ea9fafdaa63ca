"""The page as a browser gets it: over a real socket with real TLS, and beside the legacy app at one path."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from appliance.customers.id_map import IdMap
from appliance.customers.ids import Change, Kind, Source
from appliance.edge.refusals import Refusal
from appliance.outcomes import Reply
from appliance.service.id_store import IdStore
from appliance.sidebar.app import Rules, SidebarApp
from appliance.sidebar.protocols.base import BAD_SIGNATURE
from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from appliance.sidebar.protocols.page_document import HEADERS
from appliance.sidebar.protocols.query_signed import NOT_FRAMED, OTHER_NETWORK
from tests.edge.wire import Apps
from tests.factory import NOW, SECRET, body_for, make_app, make_snapshot, sign, visit_for
from tests.server import Response, Server, serving
from tests.vectors import PAGE_QUERIES

ROWS = (("id", "email", "name"), ("604417723", "ida@nord.example", "Ida Møller"))
PAGE = HelpScoutPage([SECRET.encode()])
FAR = HelpScoutPage([SECRET.encode()], networks=[ip_network("203.0.113.0/24")])
NEAR = HelpScoutPage([SECRET.encode()], networks=[ip_network("127.0.0.0/8")])
QUERY = visit_for(PAGE, conversation_id=12, customer_id=604417723, mailbox_id=34, user_id=56).body.decode()
VECTORS: list[Any] = [case.values[0] for case in PAGE_QUERIES]
FRAME = {"Sec-Fetch-Dest": "iframe", "Referer": "https://secure.helpscout.net/"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")

    def make_apps() -> Apps:
        snapshot = make_snapshot(folder, ROWS, keys=("id",))
        rules = Rules(id_column="id", address_columns=("email",))

        def app(page: HelpScoutPage) -> SidebarApp:
            return make_app(snapshot, others=[page], rules=rules)

        vectors = {
            f"/{number}": app(HelpScoutPage([one.encode() for one in case["secrets"]], own_parameters=case["own"]))
            for number, case in enumerate(VECTORS)
        }
        return {
            "/helpscout": app(PAGE),
            "/far": app(FAR),
            "/near": app(NEAR),
            "/legacy": make_app(snapshot),
            **vectors,
        }

    with serving(make_apps, folder) as running:
        yield running


def refused(response: Response, refusal: Refusal | Reply) -> Response:
    reply = refusal.reply if isinstance(refusal, Refusal) else refusal
    assert (response.status, response.body) == (reply.response.status, reply.response.body)
    return response


NUMBERED = [pytest.param(number, *case.values, id=case.id) for number, case in enumerate(PAGE_QUERIES)]


@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_vector(number: int, case: dict[str, Any], server: Server) -> None:
    response = server.request("GET", f"/{number}?{case['query']}", headers=FRAME)
    if case["valid"]:
        outcome = "found" if case.get("page", "by_id") == "by_id" else case["page"]
        assert (response.status, server.lines.last()["outcome"]) == (200, outcome)
    else:
        refused(response, BAD_SIGNATURE)


def test_a_page(server: Server) -> None:
    response = server.request("GET", f"/helpscout?{QUERY}", headers=FRAME)
    assert response.status == 200
    assert "<h4>Ida Møller</h4>" in PAGE.read_card(response.body)
    headers = {name: value for name, value in response.headers.items() if name != "Date"}
    assert headers == {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "Content-Length": str(len(response.body)),
        **dict(HEADERS),
    }


def test_head(server: Server) -> None:
    whole = server.request("GET", f"/helpscout?{QUERY}", headers=FRAME)
    head = server.request("HEAD", f"/helpscout?{QUERY}", headers=FRAME)
    assert (head.status, head.body) == (200, b"")
    assert {**head.headers, "Date": ""} == {**whole.headers, "Date": ""}
    assert server.request("HEAD", "/helpscout").status == 403


ASKED: list[int] = []


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Server]:
    """Serve with an answer for each id: of 7 somebody else knows the address, and of no other."""
    ASKED.clear()
    ids = IdStore(tmp_path / "ids", NOW)

    async def ask_about(customer: int) -> bool:
        ASKED.append(customer)
        if customer == 7:
            ids.apply([Change(7, Kind.REPLACE, ("ida@nord.example",), NOW, Source.API)], NOW)
        return customer == 7

    def make_apps() -> Apps:
        snapshot = make_snapshot(tmp_path, ROWS, keys=("id",))
        rules = Rules(id_column="id", address_columns=("email",))
        return {"/helpscout": make_app(snapshot, others=[PAGE], rules=rules, ids=IdMap(tmp_path / "ids"))}

    with serving(make_apps, tmp_path, ask_about=ask_about) as running:
        yield running
    ids.close()


def test_somebody_else_is_asked_about_an_id_that_nobody_knows(asking: Server) -> None:
    def shown(customer: int) -> str:
        query = visit_for(PAGE, customer_id=customer).body.decode()
        return PAGE.read_card(asking.request("GET", f"/helpscout?{query}").body)

    assert "<h4>Ida Møller</h4>" in shown(7)
    assert asking.lines.last()["outcome"] == "found"
    assert "not known yet" in shown(8)
    assert "<h4>Ida Møller</h4>" in shown(604417723)  # by the column
    assert "<h4>Ida Møller</h4>" in shown(7)  # by what was learned
    assert ASKED == [7, 8]
    refused(asking.request("GET", "/helpscout?customer-id=9&X-HelpScout-Signature=x"), BAD_SIGNATURE)
    asking.request("GET", f"/helpscout?{visit_for(PAGE, mailbox_id=5).body.decode()}")
    body = body_for("nobody@nord.example")
    asking.post(body, sign(body))
    assert ASKED == [7, 8]


def test_the_legacy_app_at_the_same_path(server: Server) -> None:
    body = body_for("ida@nord.example")
    for path in ("/helpscout", f"/helpscout?{QUERY}"):
        response = server.post(body, sign(body), path)
        assert (response.status, response.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    refused(server.post(body, None, f"/helpscout?{QUERY}"), BAD_SIGNATURE)


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "DELETE", "PATCH"])
def test_other_methods(method: str, server: Server) -> None:
    response = refused(server.request(method, f"/helpscout?{QUERY}"), Refusal.BAD_PAGE_METHOD)
    assert response.headers["Allow"] == "GET, HEAD, POST"


def test_an_app_without_a_page_has_none(server: Server) -> None:
    response = refused(server.request("GET", f"/legacy?{QUERY}"), Refusal.BAD_METHOD)
    assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("path", "headers", "reply"),
    [
        ("/helpscout", {"Sec-Fetch-Dest": "document"}, NOT_FRAMED),
        ("/helpscout", {"sec-fetch-dest": ""}, NOT_FRAMED),
        ("/far", FRAME, OTHER_NETWORK),
        ("/far", {"X-Forwarded-For": "203.0.113.7", **FRAME}, OTHER_NETWORK),
        ("/far", {"X-Real-IP": "203.0.113.7", **FRAME}, OTHER_NETWORK),
    ],
    ids=["pasted link", "empty", "another network", "X-Forwarded-For", "X-Real-IP"],
)
def test_refused_visits(path: str, headers: dict[str, str], reply: Reply, server: Server) -> None:
    refused(server.request("GET", f"{path}?{QUERY}", headers=headers), reply)
    assert server.lines.last()["outcome"] == reply.outcome


def test_visits_from_a_named_network_and_without_the_header(server: Server) -> None:
    assert server.request("GET", f"/near?{QUERY}").status == 200


def test_a_conditional_visit_is_answered_whole(server: Server) -> None:
    headers = {
        **FRAME,
        "If-None-Match": "*",
        "If-Modified-Since": "Tue, 01 Jan 2030 00:00:00 GMT",
        "Range": "bytes=0-9",
    }
    response = server.request("GET", f"/helpscout?{QUERY}", headers=headers)
    assert response.status == 200
    assert "Ida" in PAGE.read_card(response.body)


def test_the_log_line_has_ids_of_who_looked_and_nothing_of_the_query(server: Server) -> None:
    server.request("GET", f"/helpscout?{QUERY}", headers=FRAME)
    line = server.lines.last()
    assert (line["conversation"], line["mailbox"], line["agent"], line["outcome"]) == (12, 34, 56, "found")
    server.request("GET", f"/helpscout?customer-id=99887766&needle=1&{QUERY}", headers=FRAME)
    server.request("GET", "/helpscout?%ff=needle", headers=FRAME)
    logged = server.lines.getvalue()
    signature = QUERY.rpartition("=")[2]
    for word in ("604417723", "99887766", "needle", "customer-id", signature, "Signature", "ida@", "Ida"):
        assert word.encode() not in logged, word


def test_a_long_query(server: Server) -> None:
    for size in (8 * 1024, 15 * 1024):
        refused(server.request("GET", f"/helpscout?{QUERY}&x={'x' * size}", headers=FRAME), BAD_SIGNATURE)
    refused(server.request("GET", f"/helpscout?{'x' * 17 * 1024}", headers=FRAME), Refusal.HEADERS_TOO_LARGE)
