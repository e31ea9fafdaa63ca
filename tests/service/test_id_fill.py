"""The list of all customers: at half of the rate, once, and through every crash."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from appliance.customers.ids import Change, Source
from appliance.http_client import UnreachableError
from appliance.inbox_api.client import Credentials, InboxApi
from appliance.inbox_api.wire import Request, Response
from appliance.service.id_fill import FILE, IdFill
from appliance.system import files
from tests.conftest import Logged
from tests.factory import NOW, Timer
from tests.inbox_api.help_scout import API_ID, API_SECRET, HelpScout

CREDENTIALS = Credentials(API_ID.encode(), API_SECRET.encode())


class CrashError(BaseException):
    """The process ends here."""


class Life:
    """One life of a steward that lists customers. `dies_at` is the number of the step at which it ends."""

    def __init__(
        self, folder: Path, help_scout: HelpScout, stored: dict[int, tuple[str, ...]], dies_at: int = -1
    ) -> None:
        self.timer = Timer(NOW)
        self.slept: list[float] = []
        self.steps = 0
        self._dies_at = dies_at
        self._stored = stored
        self._help_scout = help_scout
        self.disk_is_full = 0
        self.sources: set[Source] = set()
        api = InboxApi(CREDENTIALS, self._exchange, timer=self.timer, clock=lambda: NOW, random=lambda: 0.0)
        self.fill = IdFill(
            api,
            self._store,
            self._is_known,
            folder,
            "account",
            self._in_thread,
            clock=self.timer,
            timer=self.timer,
            sleep=self._sleep,
        )

    def run(self) -> None:
        asyncio.run(self.fill.run())

    def step(self) -> None:
        self.steps += 1
        if self.steps == self._dies_at:
            raise CrashError

    async def _exchange(self, request: Request) -> Response:
        self.step()
        self.timer.now += 0.1
        response = self._help_scout.answer(request)
        self.step()
        return response

    async def _store(self, changes: Sequence[Change]) -> bool:
        self.step()
        if self.disk_is_full:
            self.disk_is_full -= 1
            return False
        self._stored.update({change.customer: change.addresses for change in changes})
        self.sources |= {change.source for change in changes}
        self.step()
        return True

    async def _is_known(self, customer: int) -> bool:
        return customer in self._stored

    async def _in_thread(self, work: Callable[[], object]) -> object:
        self.step()
        result = work()
        self.step()
        return result

    async def _sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.timer.now += seconds


@pytest.fixture
def help_scout() -> HelpScout:
    made = HelpScout({number: (f"a{number}@x.example",) for number in range(1, 24)})
    made.page_size = 5
    made.remaining = 10_000
    return made


@pytest.fixture(autouse=True)
def _said(logged: Logged) -> Logged:
    return logged


def taken(logged: Logged, *events: str) -> None:
    for event in events:
        logged.take(event)


def test_all_are_listed_once(tmp_path: Path, help_scout: HelpScout, logged: Logged) -> None:
    stored: dict[int, tuple[str, ...]] = {}
    life = Life(tmp_path, help_scout, stored)
    life.run()
    assert stored == help_scout.customers
    assert life.sources == {Source.FILL}
    logged.take("ids_fill_started")
    said = logged.take("ids_filled")
    assert (said["customers"], said["seconds"]) == (23, round(life.timer.now - NOW))
    info = life.fill.info
    assert (info.pages, info.customers, info.started, info.finished, info.why) == (5, 23, NOW, life.timer.now, "")
    assert [path for path in help_scout.paths if path != "token"] == [
        "/v3/customers",
        *(f"/v3/customers?cursor={number}" for number in (5, 10, 15, 20)),
    ]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    text = (tmp_path / FILE).read_text()
    assert not any(secret in text for secret in (API_ID, API_SECRET, "token-", "@"))

    asked = len(help_scout.requests)
    Life(tmp_path, help_scout, stored).run()  # the next steward lists nothing
    assert len(help_scout.requests) == asked


def test_it_takes_half_of_the_rate(tmp_path: Path, help_scout: HelpScout, logged: Logged) -> None:
    help_scout.page_size, help_scout.limit = 1, 400
    life = Life(tmp_path, help_scout, {})
    life.run()
    # Of 23 pages each takes 60 s / 200; the first is asked with what the smallest plan has.
    assert life.timer.now - NOW == pytest.approx(22 * 0.3 + 0.1, abs=0.5)
    taken(logged, "ids_fill_started", "ids_filled")


def test_everybody_else_comes_first(tmp_path: Path, help_scout: HelpScout, logged: Logged) -> None:
    help_scout.remaining = 51  # of 200
    life = Life(tmp_path, help_scout, {})
    life.run()
    assert life.slept.count(60.0) + sum(59 < seconds < 60 for seconds in life.slept) >= 3
    taken(logged, "ids_fill_started", "ids_filled")


@pytest.mark.parametrize("lists_emails", [True, False], ids=["with addresses", "without addresses"])
def test_a_crash_at_any_step_loses_nobody(
    lists_emails: bool, tmp_path: Path, help_scout: HelpScout, logged: Logged
) -> None:
    help_scout.lists_emails = lists_emails
    whole = Life(tmp_path / "whole", help_scout, {})
    (tmp_path / "whole").mkdir()
    whole.run()
    taken(logged, "ids_fill_started", "ids_filled")
    for step in range(1, whole.steps + 1):
        folder = tmp_path / str(step)
        folder.mkdir()
        stored: dict[int, tuple[str, ...]] = {}
        with pytest.raises(CrashError):
            Life(folder, help_scout, stored, dies_at=step).run()
        logged.take("ids_fill_started")
        asked = len(help_scout.requests)
        again = Life(folder, help_scout, stored)
        again.run()
        assert stored == help_scout.customers, step
        assert again.fill.info.customers == 23
        assert len(help_scout.requests) - asked <= whole.steps
        begun = [line["event"] for line in logged.rest()]
        assert begun in ([], ["ids_filled"], ["ids_fill_started", "ids_filled"], ["ids_fill_resumed", "ids_filled"])
        logged.rest().clear()


def test_entries_without_addresses_are_asked_for(tmp_path: Path, help_scout: HelpScout, logged: Logged) -> None:
    help_scout.lists_emails = False
    stored: dict[int, tuple[str, ...]] = dict.fromkeys(range(1, 6), ("held@x.example",))
    life = Life(tmp_path, help_scout, stored)
    life.run()
    assert {number: addresses for number, addresses in stored.items() if number > 5} == {
        number: addresses for number, addresses in help_scout.customers.items() if number > 5
    }
    assert stored[1] == ("held@x.example",)  # of whom something is known is not asked for
    assert life.sources == {Source.FILL}
    taken(logged, "ids_fill_started", "ids_filled")


def test_one_that_cannot_be_read_is_left_out(tmp_path: Path, help_scout: HelpScout, logged: Logged) -> None:
    help_scout.lists_emails = False
    help_scout.scripted.extend([lambda good: good, lambda good: good, Response(200, {}, b"{")])
    stored: dict[int, tuple[str, ...]] = {}
    Life(tmp_path, help_scout, stored).run()
    assert set(help_scout.customers) - set(stored) == {23}
    taken(logged, "ids_fill_started", "ids_filled")


@pytest.mark.parametrize(
    ("fault", "waited"),
    [
        (Response(429, {"x-ratelimit-retry-after": "17"}, b""), 17),
        (Response(503, {}, b""), 5),
        (Response(200, {}, b"{"), 0),
        (UnreachableError("no answer"), 5),
        (Response(403, {}, b""), 3600),
    ],
    ids=["limited", "broken", "unreadable", "unreachable", "refused"],
)
def test_after_a_failure_it_goes_on(
    fault: Response | Exception, waited: float, tmp_path: Path, help_scout: HelpScout, logged: Logged
) -> None:
    help_scout.scripted.extend([lambda good: good] * 3 + [fault])
    stored: dict[int, tuple[str, ...]] = {}
    life = Life(tmp_path, help_scout, stored)
    life.run()
    assert stored == help_scout.customers
    assert help_scout.paths.count("/v3/customers?cursor=10") == 2
    assert sum(life.slept) > max(60, waited)
    taken(logged, "ids_fill_started", "ids_filled")


def test_a_full_disk_is_waited_for(tmp_path: Path, help_scout: HelpScout, logged: Logged) -> None:
    stored: dict[int, tuple[str, ...]] = {}
    life = Life(tmp_path, help_scout, stored)
    life.disk_is_full = 3
    life.run()
    assert stored == help_scout.customers
    assert life.slept.count(60.0) == 3
    taken(logged, "ids_fill_started", "ids_filled")


def test_progress_that_cannot_be_written_is_no_progress(
    tmp_path: Path, help_scout: HelpScout, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failing = files._write_synced, 2

    def fail(*given: object) -> None:
        nonlocal failing
        failing -= 1
        if failing >= 0:
            raise OSError(28, "No space left on device")
        real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "_write_synced", fail)
    life = Life(tmp_path, help_scout, {})
    life.run()
    assert help_scout.paths.count("/v3/customers") == 3
    assert life.fill.info.pages == 5
    taken(logged, "ids_fill_started", "ids_filled")


def test_a_cursor_that_is_gone_begins_the_list_anew(tmp_path: Path, help_scout: HelpScout, logged: Logged) -> None:
    gone = Response(410, {}, b"")
    keep: Callable[[Response], Response] = lambda good: good  # noqa: E731
    help_scout.scripted.extend([keep, keep, gone, keep, gone])
    stored: dict[int, tuple[str, ...]] = {}
    life = Life(tmp_path, help_scout, stored)
    life.run()
    assert stored == help_scout.customers
    assert help_scout.paths.count("/v3/customers") == 3
    assert [seconds for seconds in life.slept if seconds >= 60] == [3600.0]  # the second time
    taken(logged, "ids_fill_started", "ids_filled")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"account": 5}', json.dumps({"account": "another", "cursor": "10", "finished": 5.0}), "\0"],
    ids=["empty", "cut", "no object", "no text", "another account's", "zeros"],
)
def test_a_file_that_says_nothing(text: str, tmp_path: Path, help_scout: HelpScout, logged: Logged) -> None:
    (tmp_path / FILE).write_text(text)
    stored: dict[int, tuple[str, ...]] = {}
    Life(tmp_path, help_scout, stored).run()
    assert stored == help_scout.customers
    taken(logged, "ids_fill_started", "ids_filled")


def test_an_account_without_customers(tmp_path: Path, logged: Logged) -> None:
    life = Life(tmp_path, HelpScout(), {})
    life.run()
    assert life.fill.info.finished
    taken(logged, "ids_fill_started", "ids_filled")
