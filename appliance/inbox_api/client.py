"""What the Inbox API is asked, and what its answers mean.

Source: developer.helpscout.com/mailbox-api. A token (OAuth 2, client credentials) is kept until near its end.

    answer                    to a customer       to a page of the list  to the token  then nothing is asked
    200, as expected          its addresses       the next customers     the token
    200, but no such JSON     UNREADABLE          UNREADABLE             BROKEN        UNREADABLE: asked on at once
    301                       it was merged       BROKEN                 BROKEN
    400                       BROKEN              the cursor is gone     REFUSED
    401                       a new token, once; then REFUSED            REFUSED       for an hour
    403                       NO_ACCESS           NO_ACCESS              NO_ACCESS     for an hour
    404                       nobody has it       the cursor is gone     BROKEN
    410                       BROKEN              the cursor is gone     BROKEN
    429                       LIMITED             LIMITED                LIMITED       for X-RateLimit-Retry-After
    any other status          BROKEN              BROKEN                 BROKEN        for 5 s, 10 s, ... 10 min
    none, or over 4 MiB       UNREACHABLE         UNREACHABLE            UNREACHABLE   as after BROKEN

A reload asks at once, whatever the last answer was. Once the minute's requests are used up
(X-RateLimit-Remaining-Minute), nothing is asked for a minute. What an answer says in words is never repeated.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from msgspec.structs import replace

from appliance.customers.ids import MAX_ID, Change, Source
from appliance.errors import SidebardError
from appliance.http_client import UnreachableError
from appliance.inbox_api.wire import Request, Response
from appliance.sidebar.protocols.helpscout_webhook import read_customer

SMALLEST_LIMIT: Final = 200
"""Requests a minute of the smallest plan: what is assumed until an answer says more."""

MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 600.0
_SPREAD: Final = 0.1
_RENEW_BEFORE: Final = 300.0  # seconds before a token's end, or a tenth of its life
_TOKEN: Final = "/v2/oauth2/token"  # noqa: S105
_CUSTOMER: Final = "/v2/customers/{}"
_LIST: Final = "/v3/customers"
_MOVED: Final = re.compile(r"/v[23]/customers/([1-9][0-9]{0,18})/?")
_MERGES: Final = 4  # in a row
_GONE: Final = (400, 404, 410)
_FAULTS: Final = (msgspec.MsgspecError, RecursionError)


class Trouble(NamedTuple):
    """Why the API gives no answer, and what to do about it."""

    why: str
    todo: str
    is_refusal: bool = False
    """It stays so until somebody does something."""

    @property
    def sentence(self) -> str:
        """Both."""
        return f"{self.why}; {self.todo}"


REFUSED: Final = Trouble(
    "Help Scout refuses the id or the secret of the Inbox API",
    "enter both in helpscout.api_id and helpscout.api_secret as they stand in Your Profile > My Apps, and reload",
    is_refusal=True,
)
NO_ACCESS: Final = Trouble(
    "Help Scout does not let this account use the Inbox API (403)",
    "see whether its plan has the API and its user may read customers, or remove helpscout.api_id and api_secret",
    is_refusal=True,
)
LIMITED: Final = Trouble(
    "the account's requests to the Inbox API are used up for this minute (429)",
    "it is asked again later; other programs of the account use the same limit",
)
BROKEN: Final = Trouble("the Inbox API answers with {}", "it is asked again later; see status.helpscout.com")
UNREADABLE: Final = Trouble("the Inbox API answers something else than was expected", "the next question is asked")
UNREACHABLE: Final = Trouble(
    "the Inbox API cannot be reached: {}",
    "let this machine open connections to api.helpscout.net, port 443; it is asked again later",
)


class ApiError(SidebardError):
    """There is no answer. The text says why and what to do, and holds nothing that came or was sent."""

    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        self.trouble = trouble._replace(why=trouble.why.format(detail))
        super().__init__(self.trouble.sentence)

    @property
    def is_of_one(self) -> bool:
        """Whether it concerns what was asked for and nothing else."""
        return self.trouble == UNREADABLE


class CursorGoneError(Exception):
    """The API does not take this place in the list any more."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The id and the secret of an app of Help Scout's. Never shown."""

    api_id: bytes = field(repr=False)
    api_secret: bytes = field(repr=False)


class Page(NamedTuple):
    """One page of the list of all customers."""

    changes: tuple[Change, ...]
    unsaid: tuple[int, ...]
    """Ids of those whose addresses the list does not say."""
    cursor: str
    """The place of the next page; "": there is none."""


Exchange = Callable[[Request], Awaitable[Response]]
"""Sends a request to the API. Raises UnreachableError."""


class InboxApi:
    """Asks the API, one request at a time."""

    def __init__(
        self,
        credentials: Credentials,
        exchange: Exchange,
        *,
        timer: Callable[[], float],
        clock: Callable[[], float],
        random: Callable[[], float],
        report: Callable[[Trouble | None, float], None] = lambda _trouble, _pause: None,
    ) -> None:
        """`timer` and `clock` return seconds, of any begin and since 1970; `random` a number from 0 to 1.

        `report` is told of the first failure of a kind, and in how many seconds the API is asked again; and of None,
        once it answers.
        """
        self._credentials = credentials
        self._exchange = exchange
        self._timer = timer
        self._clock = clock
        self._random = random
        self._report = report
        self._turn = asyncio.Lock()
        self._token = ""
        self._token_ends = 0.0
        self._not_before = 0.0
        self._failures = 0
        self.trouble: Trouble | None = None
        """Why the last request had no answer; None: it had one."""
        self.limit = SMALLEST_LIMIT
        """Requests that the account has in a minute."""
        self.remaining: int | None = None
        """How many of them were left at the last answer; None: it did not say."""
        self.asked = 0
        """Requests so far."""

    @property
    def pause(self) -> float:
        """Seconds before which the API is not to be asked."""
        return max(0.0, self._not_before - self._timer())

    async def find(self, customer: int) -> tuple[Change, ...]:
        """Return what the API says of an id; nothing: nobody has it. Raises ApiError.

        Of one that was merged into another it says what it says of the other.
        """
        final = customer
        for _ in range(_MERGES):
            response = await self._get(_CUSTOMER.format(final), (200, 301, 404))
            if response.status != 301:
                break
            moved = _moved_to(response.fields.get("location", ""))
            if moved is None:
                raise self._failed(UNREADABLE)
            final = moved
        if response.status == 404:
            return ()
        found = read_customer(self._object(response), self._clock()) if response.status == 200 else None
        if found is None or found.customer != final:
            raise self._failed(UNREADABLE)
        return tuple(replace(found, customer=one, source=Source.API) for one in dict.fromkeys((customer, final)))

    async def page(self, cursor: str) -> Page:
        """Return a page of the list of all customers, "" for the first. Raises ApiError and CursorGoneError."""
        path = f"{_LIST}?{urlencode({'cursor': cursor})}" if cursor else _LIST
        response = await self._get(path, (200, *_GONE) if cursor else (200,))
        if response.status in _GONE:
            raise CursorGoneError
        message = self._object(response)
        entries = _object(message.get("_embedded")).get("customers", [])
        link = _object(_object(message.get("_links")).get("next")).get("href")
        following = _cursor(link) if isinstance(link, str) else ""
        if not isinstance(entries, list) or following is None or (following and following == cursor):
            raise self._failed(UNREADABLE)
        said = [read_customer(_object(each), self._clock()) for each in entries]
        ids = (_object(each).get("id") for each, change in zip(entries, said, strict=True) if change is None)
        return Page(
            tuple(replace(each, source=Source.FILL) for each in said if each is not None),
            tuple(one for one in ids if type(one) is int and 0 < one <= MAX_ID),
            following if entries else "",
        )

    async def _get(self, path: str, expected: tuple[int, ...]) -> Response:
        async with self._turn:
            for has_tried in (False, True):
                token = await self._current_token()
                response = await self._send(Request("GET", path, {"Authorization": f"Bearer {token}"}))
                if response.status != 401:
                    break
                self._token = ""
                if has_tried:
                    raise self._failed(REFUSED)
            if response.status not in expected:
                raise self._status_failed(response)
            self._worked()
            return response

    async def _current_token(self) -> str:
        if self._token and self._timer() < self._token_ends:
            return self._token
        form = {
            "grant_type": "client_credentials",
            "client_id": self._credentials.api_id,
            "client_secret": self._credentials.api_secret,
        }
        fields = {"Content-Type": "application/x-www-form-urlencoded"}
        asked = self._timer()
        response = await self._send(Request("POST", _TOKEN, fields, urlencode(form).encode()))
        if response.status in (400, 401):
            raise self._failed(REFUSED)
        if response.status != 200:
            raise self._status_failed(response)
        try:
            answer = msgspec.json.decode(response.body, type=_TokenAnswer)
        except _FAULTS:
            raise self._failed(BROKEN, "no token") from None
        self._token = answer.access_token
        self._token_ends = asked + answer.expires_in - min(_RENEW_BEFORE, answer.expires_in / 10)
        return self._token

    async def _send(self, request: Request) -> Response:
        self.asked += 1
        try:
            response = await self._exchange(request)
        except UnreachableError as error:
            raise self._failed(UNREACHABLE, str(error)) from None
        self.limit = max(1, _number(response, "x-ratelimit-limit-minute") or self.limit)
        self.remaining = _number(response, "x-ratelimit-remaining-minute")
        if self.remaining == 0 and response.status != 429:
            self._wait(MINUTE)
        return response

    def _object(self, response: Response) -> Mapping[str, Any]:
        try:
            return msgspec.json.decode(response.body, type=dict[str, Any])
        except _FAULTS:
            raise self._failed(UNREADABLE) from None

    def _status_failed(self, response: Response) -> ApiError:
        if response.status == 403:
            return self._failed(NO_ACCESS)
        if response.status == 429:
            after = _number(response, "x-ratelimit-retry-after") or _number(response, "retry-after") or MINUTE
            return self._failed(LIMITED, pause=min(float(after), _HOUR))
        return self._failed(BROKEN, f"status {response.status}")

    def _failed(self, trouble: Trouble, detail: str = "", pause: float | None = None) -> ApiError:
        """Note a failure, and how long nothing is asked; return the error to raise."""
        error = ApiError(trouble, detail)
        if error.is_of_one:
            return error
        if pause is None:
            self._failures += 1
            pause = (
                _HOUR if trouble.is_refusal else min(_FIRST_PAUSE * 2.0 ** min(self._failures - 1, 32), _LONGEST_PAUSE)
            )
            pause *= 1 + _SPREAD * self._random()
        self._wait(pause)
        if self.trouble is None or self.trouble.why != error.trouble.why:
            self._report(error.trouble, pause)
        self.trouble = error.trouble
        return error

    def _worked(self) -> None:
        self._failures = 0
        if self.trouble is not None:
            self.trouble = None
            self._report(None, 0.0)

    def _wait(self, pause: float) -> None:
        self._not_before = max(self._not_before, self._timer() + pause)


class _TokenAnswer(msgspec.Struct, frozen=True):
    """The answer to a request for a token, as far as it matters."""

    access_token: str
    expires_in: float = 0.0

    def __post_init__(self) -> None:
        if not self.access_token.isascii() or not self.access_token.isprintable() or not self.access_token:
            raise ValueError("not a token")


def _number(response: Response, name: str) -> int | None:
    text = response.fields.get(name, "").strip()
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _moved_to(location: str) -> int | None:
    """Return the id in the URL of a customer; None: it is another URL."""
    try:
        found = _MOVED.fullmatch(urlsplit(location).path)
    except ValueError:
        return None
    return int(found[1]) if found is not None else None


def _cursor(link: str) -> str | None:
    """Return the cursor in the link to the next page; None if there is none, or too long a one."""
    try:
        found = parse_qs(urlsplit(link).query).get("cursor", [])
    except ValueError:
        return None
    return found[0] if len(found) == 1 and len(found[0]) <= 4096 else None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
