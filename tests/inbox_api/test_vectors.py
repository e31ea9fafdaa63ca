"""What each documented or recorded answer of the Inbox API leads to."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from appliance.inbox_api.client import (
    BROKEN,
    LIMITED,
    NO_ACCESS,
    REFUSED,
    UNREADABLE,
    ApiError,
    Credentials,
    InboxApi,
)
from appliance.inbox_api.wire import Request, Response
from tests.factory import NOW, Timer
from tests.vectors import INBOX_API

BY_ID: dict[str, dict[str, Any]] = {case.values[0]["id"]: case.values[0] for case in INBOX_API}  # type: ignore[index]
FORM = BY_ID["token"]["request"]["form"]
TROUBLES = {
    "token-refused": REFUSED,
    "no-api-in-this-plan": NO_ACCESS,
    "too-many": LIMITED,
    "server-error": BROKEN,
    "not-json": UNREADABLE,
}


def response_of(case: dict[str, Any]) -> Response:
    answer = case["answer"]
    body = answer.get("body", "")
    fields = {name.lower(): value for name, value in answer["headers"].items()}
    return Response(answer["status"], fields, (body if isinstance(body, str) else json.dumps(body)).encode())


class Recorded:
    """The API as recorded: this case once, and after it what follows on from it."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.asked: list[Request] = []
        self.case: dict[str, Any] | None = case
        self.timer = Timer(1000.0)
        credentials = Credentials(FORM["client_id"].encode(), FORM["client_secret"].encode())
        self.api = InboxApi(credentials, self.exchange, timer=self.timer, clock=lambda: NOW, random=lambda: 0.0)

    async def exchange(self, request: Request) -> Response:
        self.asked.append(request)
        case = self.case
        if case is not None and case["request"]["method"] == request.method:
            self.case = None
            return response_of(case)
        return response_of(BY_ID["token" if request.method == "POST" else "customer"])


@pytest.mark.parametrize("case", [case for case in INBOX_API if "/customers?" not in case.values[0]["request"]["url"]])  # type: ignore[index]
def test_one_customer(case: dict[str, Any]) -> None:
    recorded, expected = Recorded(case), case["expect"]
    customer = (
        int(urlsplit(case["request"]["url"]).path.rpartition("/")[2]) if "form" not in case["request"] else 604417723
    )
    if trouble := TROUBLES.get(case["id"]):
        with pytest.raises(ApiError) as caught:
            asyncio.run(recorded.api.find(customer))
        assert caught.value.trouble[1:] == trouble[1:]
        # How long the API is left alone is documented for 429 alone.
        assert recorded.api.pause > 0 or caught.value.is_of_one
        assert trouble is not LIMITED or recorded.api.pause == expected["seconds"]
        return
    found = asyncio.run(recorded.api.find(customer))
    assert parse_qs(recorded.asked[0].body.decode()) == {name: [value] for name, value in FORM.items()}
    assert recorded.asked[-1].fields["Authorization"] == f"Bearer {BY_ID['token']['answer']['body']['access_token']}"
    match case["id"]:
        case "customer" | "customer-without-address":
            assert [list(change.addresses) for change in found] == [expected["addresses"]]
        case "customer-merged":
            assert [change.customer for change in found] == [customer, expected["into"]]
        case "customer-gone":
            assert found == ()
        case "token-expired":
            assert [one.method for one in recorded.asked] == ["POST", "GET", "POST", "GET"]
            assert len(found) == 1
        case "token":
            assert [one.method for one in recorded.asked] == ["POST", "GET"]
            recorded.timer.now += expected["renew_after_seconds_at_most"]
            asyncio.run(recorded.api.find(customer))
            assert [one.method for one in recorded.asked[2:]] == ["POST", "GET"]


@pytest.mark.parametrize("case", [case for case in INBOX_API if "/v3/customers?" in case.values[0]["request"]["url"]])  # type: ignore[index]
def test_the_list(case: dict[str, Any]) -> None:
    page = asyncio.run(Recorded(case).api.page(""))
    assert {str(change.customer): list(change.addresses) for change in page.changes} == case["expect"]["map"]
    assert (page.unsaid, bool(page.cursor)) == ((), case["expect"]["next"])
