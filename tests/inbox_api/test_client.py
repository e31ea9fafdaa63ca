"""What each answer of the Inbox API leads to, and when it is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from appliance.customers.ids import Change, Kind, Source
from appliance.http_client import UnreachableError
from appliance.inbox_api.client import (
    BROKEN,
    LIMITED,
    NO_ACCESS,
    REFUSED,
    UNREACHABLE,
    UNREADABLE,
    ApiError,
    Credentials,
    CursorGoneError,
    InboxApi,
    Trouble,
)
from appliance.inbox_api.wire import Response
from tests.factory import NOW, Timer
from tests.inbox_api.help_scout import API_ID, API_SECRET, TOKEN_SECONDS, HelpScout

AS_OF = 1_767_323_045.0
CREDENTIALS = Credentials(API_ID.encode(), API_SECRET.encode())


class Asking:
    """A client of a Help Scout without a network."""

    def __init__(self, *, credentials: Credentials = CREDENTIALS, chance: float = 0.0) -> None:
        self.help_scout = HelpScout({7: ("ida@nord.example", "IDA@Nord.example"), 8: ()})
        self.timer = Timer(1000.0)
        self.reports: list[tuple[Trouble | None, float]] = []
        self.api = InboxApi(
            credentials,
            self.help_scout.exchange,
            timer=self.timer,
            clock=lambda: NOW,
            random=lambda: chance,
            report=lambda *told: self.reports.append(told),
        )

    def find(self, customer: int = 7) -> tuple[Change, ...]:
        return asyncio.run(self.api.find(customer))

    def fails(self, customer: int = 7) -> ApiError:
        with pytest.raises(ApiError) as caught:
            self.find(customer)
        for text in (str(caught.value), repr(caught.value.__dict__), str(self.reports)):
            assert API_SECRET not in text
            assert API_ID not in text
            assert "token-" not in text
        return caught.value

    def answers(self, *scripted: Response | Exception | Callable[[Response], Response]) -> None:
        self.help_scout.scripted.extend(scripted)


@pytest.fixture
def asking() -> Asking:
    return Asking()


def is_like(trouble: Trouble, told: Trouble) -> bool:
    """Return whether `told` is `trouble`, whatever is written into its words."""
    return told.why.startswith(trouble.why.partition("{")[0]) and told[1:] == trouble[1:]


def test_an_id_and_its_addresses(asking: Asking) -> None:
    assert asking.find() == (Change(7, Kind.REPLACE, ("ida@nord.example",), AS_OF, Source.API),)
    assert asking.find(8) == (Change(8, Kind.REPLACE, (), AS_OF, Source.API),)
    assert asking.find(9) == ()
    assert asking.help_scout.paths == ["token", "/v2/customers/7", "/v2/customers/8", "/v2/customers/9"]
    assert (asking.api.limit, asking.api.remaining, asking.api.asked, asking.api.pause) == (200, 197, 4, 0)


def test_a_merged_one_is_the_other(asking: Asking) -> None:
    asking.help_scout.merged = {5: 6, 6: 7, 4: 44}
    changes = asking.find(5)
    assert [(change.customer, change.addresses) for change in changes] == [
        (5, ("ida@nord.example",)),
        (7, ("ida@nord.example",)),
    ]
    assert asking.find(4) == ()


@pytest.mark.parametrize(
    "location",
    [
        "https://api.helpscout.net/v2/conversations/7",
        "https://evil.example/v2/customers/7/../8",
        "",
        "/v2/customers/0",
        "http://[",
        "/v2/customers/5",  # itself, for ever
    ],
)
def test_a_redirect_elsewhere_is_not_followed(asking: Asking, location: str) -> None:
    asking.find()
    asking.answers(*[Response(301, {"location": location}, b"")] * 9)
    assert asking.fails(5).is_of_one
    assert all(path.startswith("/v2/customers/") for path in asking.help_scout.paths[1:])
    assert asking.api.pause == 0


def test_the_host_of_a_redirect_is_never_asked(asking: Asking) -> None:
    asking.find()
    asking.answers(Response(301, {"location": "https://evil.example/v2/customers/7"}, b""))
    assert [change.customer for change in asking.find(5)] == [5, 7]  # of the API itself, by its path


@pytest.mark.parametrize(
    ("scripted", "trouble", "pause"),
    [
        ([Response(403, {}, b"")], NO_ACCESS, 3600),
        ([Response(429, {"x-ratelimit-retry-after": "17"}, b"{}")], LIMITED, 17),
        ([Response(429, {"x-ratelimit-retry-after": "17", "x-ratelimit-remaining-minute": "0"}, b"")], LIMITED, 17),
        ([Response(429, {"retry-after": "9"}, b"")], LIMITED, 9),
        ([Response(429, {}, b"")], LIMITED, 60),
        ([Response(429, {"x-ratelimit-retry-after": "-5"}, b"")], LIMITED, 60),
        ([Response(429, {"x-ratelimit-retry-after": "99999999"}, b"")], LIMITED, 3600),
        ([Response(500, {}, b"<html>")], BROKEN, 5),
        ([Response(503, {}, b"")], BROKEN, 5),
        ([Response(400, {}, b"")], BROKEN, 5),
        ([Response(302, {"location": "https://evil.example/"}, b"")], BROKEN, 5),
        ([UnreachableError("no answer within 20 seconds")], UNREACHABLE, 5),
        ([Response(200, {}, b"{")], UNREADABLE, 0),
        ([Response(200, {}, b"[]")], UNREADABLE, 0),
        ([Response(200, {}, b"{}")], UNREADABLE, 0),
        ([Response(200, {}, b"[" * 100_000)], UNREADABLE, 0),
        ([Response(200, {}, b"\xff\xfe")], UNREADABLE, 0),
        ([Response(200, {}, b'{"id": 8, "_embedded": {"emails": []}}')], UNREADABLE, 0),
        ([Response(200, {}, b'{"id": 7, "_embedded": {"emails": "x"}}')], UNREADABLE, 0),
        ([Response(401, {}, b""), lambda token: token, Response(401, {}, b"")], REFUSED, 3600),
        ([Response(401, {}, b""), Response(401, {}, b"")], REFUSED, 3600),
        ([Response(401, {}, b""), Response(400, {}, b"")], REFUSED, 3600),
        ([Response(401, {}, b""), Response(403, {}, b"")], NO_ACCESS, 3600),
        ([Response(401, {}, b""), Response(404, {}, b"")], BROKEN, 5),
        ([Response(401, {}, b""), Response(429, {"x-ratelimit-retry-after": "3"}, b"")], LIMITED, 3),
        ([Response(401, {}, b""), Response(200, {}, b"{}")], BROKEN, 5),
        ([Response(401, {}, b""), Response(200, {}, b'{"access_token": "a\\r\\nb"}')], BROKEN, 5),
        ([Response(401, {}, b""), Response(200, {}, b'{"access_token": ""}')], BROKEN, 5),
        ([Response(401, {}, b""), UnreachableError("x")], UNREACHABLE, 5),
    ],
)
def test_each_failure(asking: Asking, scripted: list[Response | Exception], trouble: Trouble, pause: float) -> None:
    asking.find()
    asking.answers(*scripted)
    told = asking.fails().trouble
    assert is_like(trouble, told)
    assert asking.api.pause == pause
    if trouble is UNREADABLE:
        assert (asking.reports, asking.api.trouble) == ([], None)
        return
    assert asking.reports == [(told, pause)]
    assert asking.api.trouble == told
    asking.timer.now += pause
    assert asking.api.pause == 0
    assert asking.find()
    assert asking.reports[1:] == [(None, 0.0)]
    assert asking.api.trouble is None


@pytest.mark.parametrize("status", [400, 401])
def test_a_wrong_secret(status: int) -> None:
    asking = Asking(credentials=Credentials(b"x", b"y"))
    if status == 400:
        asking.answers(asking.help_scout.error(400))
    assert asking.fails().trouble == REFUSED
    assert asking.help_scout.paths == ["token"]


def test_a_token_is_kept_until_near_its_end(asking: Asking) -> None:
    asking.find()
    asking.timer.now += TOKEN_SECONDS - 301
    asking.find()
    assert len(asking.help_scout.tokens) == 1
    asking.timer.now += 2
    asking.find()
    assert len(asking.help_scout.tokens) == 2


@pytest.mark.parametrize(("life", "kept"), [(0, 0.0), (100, 90.0), (10_000, 9_700.0)])
def test_a_short_token(asking: Asking, life: float, kept: float) -> None:
    asking.answers(lambda token: Response(200, {}, token.body.replace(str(TOKEN_SECONDS).encode(), b"%d" % life)))
    asking.find()
    asking.timer.now += max(0.0, kept - 1)
    asking.find()
    asking.timer.now += 1
    asking.find()
    assert len(asking.help_scout.tokens) == 2


def test_a_token_that_is_gone_is_asked_for_once(asking: Asking) -> None:
    asking.find()
    asking.help_scout.revoked.update(asking.help_scout.tokens)
    assert asking.find()
    assert asking.help_scout.paths[2:] == ["/v2/customers/7", "token", "/v2/customers/7"]


def test_pauses_grow_and_begin_anew() -> None:
    asking = Asking(chance=1.0)
    asking.find()
    pauses = []
    for _ in range(10):
        asking.answers(Response(502, {}, b""))
        asking.fails()
        pauses.append(round(asking.api.pause, 3))
        asking.timer.now += asking.api.pause
    assert pauses[:3] == [5.5, 11, 22]
    assert pauses[-1] == 660
    assert len(asking.reports) == 1  # one reason, said once
    asking.find()
    asking.answers(Response(502, {}, b""))
    asking.fails()
    assert asking.api.pause == 5.5


def test_the_minutes_last_request_is_followed_by_a_pause(asking: Asking) -> None:
    asking.help_scout.remaining = 1
    assert asking.find()
    assert (asking.api.remaining, asking.api.pause) == (0, 60)
    assert asking.reports == []
    asking.timer.now += 60
    asking.help_scout.remaining = 200
    asking.help_scout.limit = 800
    asking.find()
    assert (asking.api.limit, asking.api.pause) == (800, 0)


@pytest.mark.parametrize("limit", ["", "x", "-1", "0", "9" * 30, "²"])
def test_a_limit_that_is_none(asking: Asking, limit: str) -> None:
    asking.find()
    asking.answers(lambda good: Response(200, {"x-ratelimit-limit-minute": limit}, good.body))
    asking.find()
    assert (asking.api.limit, asking.api.remaining, asking.api.pause) == (200, None, 0)


def test_one_request_at_a_time(asking: Asking) -> None:
    under_way, most = 0, 0

    async def exchange(request: object) -> Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return asking.help_scout.answer(request)  # type: ignore[arg-type]

    async def work() -> None:
        api = InboxApi(CREDENTIALS, exchange, timer=asking.timer, clock=lambda: NOW, random=lambda: 0.0)
        await asyncio.gather(*(api.find(7) for _ in range(5)))

    asyncio.run(work())
    assert (most, len(asking.help_scout.tokens)) == (1, 1)


# The list


def test_the_list_page_by_page(asking: Asking) -> None:
    asking.help_scout.customers = {number: (f"a{number}@x.example",) for number in range(1, 6)}
    asking.help_scout.page_size = 2
    cursor, listed, pages = "", [], 0
    while pages == 0 or cursor:
        page = asyncio.run(asking.api.page(cursor))
        listed += [change.customer for change in page.changes]
        assert {change.source for change in page.changes} == {Source.FILL}
        cursor, pages = page.cursor, pages + 1
    assert (listed, pages) == ([5, 4, 3, 2, 1], 3)
    assert asking.help_scout.paths[1:3] == ["/v3/customers", "/v3/customers?cursor=2"]


def test_entries_without_their_addresses(asking: Asking) -> None:
    asking.help_scout.lists_emails = False
    page = asyncio.run(asking.api.page(""))
    assert page == ((), (8, 7), "")


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_cursor_that_is_gone(asking: Asking, status: int) -> None:
    asking.find()
    asking.answers(Response(status, {}, b""))
    with pytest.raises(CursorGoneError):
        asyncio.run(asking.api.page("old"))
    asking.answers(Response(status, {}, b""))
    with pytest.raises(ApiError):
        asyncio.run(asking.api.page(""))


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"_embedded": {"customers": {}}}',
        b'{"_embedded": {"customers": []}, "_links": {"next": {"href": "/v3/customers?cursor=now"}}}',
        b'{"_embedded": {"customers": []}, "_links": {"next": {"href": "/v3/customers"}}}',
        b'{"_embedded": {"customers": []}, "_links": {"next": {"href": "http://["}}}',
        b'{"_links": {"next": {"href": "/v3/customers?cursor=' + b"x" * 5000 + b'"}}}',
    ],
    ids=["no object", "no list", "the same again", "no cursor", "no URL", "a long cursor"],
)
def test_a_page_that_is_none(asking: Asking, body: bytes) -> None:
    asking.find()
    asking.answers(Response(200, {}, body))
    with pytest.raises(ApiError) as caught:
        asyncio.run(asking.api.page("now"))
    assert caught.value.is_of_one


@pytest.mark.parametrize(
    "entry", [b"1", b"null", b"{}", b'{"id": "x"}', b'{"id": true}', b'{"id": -1}', b'{"id": 1e99}']
)
def test_an_entry_that_is_none_is_left_out(asking: Asking, entry: bytes) -> None:
    asking.find()
    asking.answers(Response(200, {}, b'{"_embedded": {"customers": [' + entry + b', {"id": 4}]}}'))
    assert asyncio.run(asking.api.page("")) == ((), (4,), "")


def test_nothing_secret_is_shown(asking: Asking) -> None:
    asking.find()
    assert API_SECRET not in repr((asking.api, CREDENTIALS, asking.help_scout.requests))
    assert "token-" not in repr(asking.help_scout.requests)
