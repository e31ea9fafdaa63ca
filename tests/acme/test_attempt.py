"""An attempt against an authority that can do anything."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from appliance.acme import attempt as attempts
from appliance.acme import client as clients
from appliance.acme.attempt import Attempt, Job, Outcome
from appliance.acme.challenges import file_for
from appliance.acme.jws import SigningKey
from appliance.acme.orders import facts_of
from appliance.acme.renewal import State
from appliance.acme.storage import Storage, StoredOrder
from appliance.system import files
from tests.acme.authority import Answer, Authority, problem

NAME = "sidebar.example.com"
NOW = 1_790_000_000.0
DAY = 86400.0


class World:
    """One machine with one authority; time passes when it is told to, or when an attempt sleeps."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.folder = folder / "acme"
        self.authority = authority
        self.now = NOW
        self.slept: list[float] = []
        self.has_address = True
        self.job = Job(
            folder=self.folder,
            directories=((authority.url, True),),
            challenges=("tls-alpn-01", "http-01"),
            ca=authority.ca,
        )
        self.storage = Storage(self.folder)
        authority.now = lambda: self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def look(self, name: str = NAME) -> Outcome:
        return Attempt(
            self.job,
            clock=lambda: self.now,
            timer=lambda: self.now,
            sleep=self.sleep,
            random=lambda: 0.5,
            resolve=lambda _name: self.has_address,
        ).look(name)

    def state(self) -> State:
        return self.storage.state(NAME)

    def leftovers(self) -> list[str]:
        """Return what is there besides the files that stay."""
        found = {str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file()}
        stay = {"lock", *(f"{NAME}/{kind}" for kind in ("pair.pem", "state.json"))}
        return sorted(name for name in found - stay if not name.endswith("account.json"))


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk: that takes four fifths of the time, and matters where the power fails."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(scope="module")
def shared_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with Authority(tmp_path_factory.mktemp("authority")) as made:
        yield made


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    with Authority(tmp_path) as made:
        yield made


@pytest.fixture
def world(tmp_path: Path, authority: Authority) -> World:
    (tmp_path / "state").mkdir()
    return World(tmp_path / "state", authority)


def test_first_certificate(world: World, authority: Authority) -> None:
    shown: list[tuple[str, bool]] = []

    def validate(kind: str, name: str, token: str) -> None:
        shown.append((kind, (world.folder / "challenges" / file_for(name)).exists()))

    authority.validate = validate
    outcome = world.look()
    assert outcome.renewed is not None
    assert outcome.is_first
    assert shown == [("tls-alpn-01", True)]
    [issued] = authority.issued
    pair = world.storage.pair_file(NAME).read_bytes()
    assert x509.load_pem_x509_certificate(pair).serial_number == issued.serial_number
    assert SigningKey.load(pair).private.public_key() == issued.public_key()
    assert len(x509.load_pem_x509_certificates(pair)) == 2
    assert world.leftovers() == []
    assert {file.stat().st_mode & 0o777 for file in world.folder.rglob("*") if file.is_file()} == {0o600}
    assert {file.stat().st_mode & 0o777 for file in world.folder.rglob("*") if file.is_dir()} == {0o700}
    assert outcome.next_attempt == pytest.approx(NOW + 60 * DAY, abs=60)
    assert world.look() == Outcome(next_attempt=outcome.next_attempt)
    assert len(authority.issued) == 1


def test_http_01(world: World, authority: Authority) -> None:
    world.job = replace(world.job, challenges=("http-01",))
    seen: list[bytes | None] = []

    def validate(kind: str, name: str, token: str) -> None:
        answer = world.storage.answer(token)
        assert answer is not None
        assert answer.startswith(token.encode() + b".")
        seen.append(answer)

    authority.validate = validate
    assert world.look().renewed is not None
    assert len(seen) == 1
    assert world.leftovers() == []


def test_renewal_keeps_account_and_names_what_it_replaces(world: World, authority: Authority) -> None:
    authority.window = lambda _name: _window(NOW + 10 * DAY, NOW + 10 * DAY + 100)
    first = world.look()
    assert first.renewed is not None
    account = world.storage.account(authority.url)
    world.now = NOW + 1  # the window is asked for at the next look
    assert world.look().next_attempt == NOW + 10 * DAY + 50
    world.now = NOW + 11 * DAY
    second = world.look()
    assert second.renewed is not None
    assert not second.is_first
    assert [order.get("replaces") for order in authority.payloads["newOrder"]] == [None, first.renewed.ari_id]
    assert world.storage.account(authority.url) == account
    assert len(authority.accounts) == 1
    plan = world.state().plan
    assert plan is not None
    assert (plan.serial, plan.window) == (second.renewed.serial, None)


def _window(start: float, end: float, **headers: str) -> Answer:
    times = {"start": start, "end": end}
    suggested = {key: datetime.fromtimestamp(each, UTC).isoformat() for key, each in times.items()}
    return 200, headers, {"suggestedWindow": suggested}


@pytest.mark.parametrize(
    "answer",
    [
        _window(NOW + 80 * DAY, NOW + 70 * DAY),
        _window(NOW + 95 * DAY, NOW + 99 * DAY),
        _window(NOW + 89 * DAY, NOW + 99 * DAY),
        (200, {}, {"suggestedWindow": {"start": "soon", "end": "later"}}),
        (200, {}, {"suggestedWindow": {"start": "9999-12-31T23:59:59-23:00", "end": "0001-01-01T00:00:00+23:00"}}),
        (200, {}, {"suggestedWindow": ["2026-01-01", "2026-02-02"]}),
        (200, {}, b"no JSON"),
        (200, {}, [1]),
        (200, {}, b"[" * 100_000),
        (200, {}, b" " * 1_000_000),
        (500, {}, {"type": "about:blank"}),
        (429, {"Retry-After": "999999999"}, {}),
        (404, {}, b""),
    ],
    ids=[
        "end before start", "after the end", "hardly any time left", "no dates", "years out of range", "a list",
        "no JSON", "no object", "deep", "huge", "500", "429", "404",
    ],
)  # fmt: skip
def test_window_that_is_none(world: World, authority: Authority, answer: Answer) -> None:
    """Whatever goes wrong with renewal information never stops or hastens a renewal."""
    authority.window = lambda _name: answer
    world.look()
    world.now = NOW + 1
    assert world.look().next_attempt == pytest.approx(NOW + 60 * DAY, abs=60)
    world.now = NOW + 61 * DAY
    assert world.look().renewed is not None


def test_killed_while_the_window_is_asked_for(
    world: World, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one is whose authority never comes to an end: the next one must not ask again, but renew."""
    asked: list[object] = []

    def kill(*given: object) -> None:
        asked.append(given)
        raise KeyboardInterrupt

    authority.window = lambda _name: _window(NOW + DAY, NOW + 2 * DAY)
    world.look()
    monkeypatch.setattr(Attempt, "_ask_for_window", kill)
    world.now = NOW + 61 * DAY
    with pytest.raises(KeyboardInterrupt):
        world.look()
    assert world.look().renewed is not None
    assert len(asked) == 1


def test_window_in_the_past_renews_now_but_never_a_third_time_in_a_day(world: World, authority: Authority) -> None:
    """An authority that always asks for a renewal at once gets two a day."""
    authority.window = lambda _name: _window(NOW - 9 * DAY, NOW - 8 * DAY)
    for minute in range(0, 3 * 1440, 10):
        world.now = NOW + 60 * minute
        world.look()
    assert len(authority.issued) == 6


def test_retried_without_replaces(world: World, authority: Authority) -> None:
    authority.window = lambda _name: _window(NOW + DAY, NOW + 2 * DAY)
    world.look()
    world.now = NOW + 3 * DAY
    refused: list[str] = []

    def refuse(method: str, path: str) -> Answer | None:
        if path == "/newOrder" and not refused:
            refused.append(path)
            return problem("alreadyReplaced", status=409)
        return None

    authority.refuse = refuse
    assert world.look().renewed is not None
    assert refused == ["/newOrder"]


@pytest.mark.parametrize("refusals", [1, 5, 9])
def test_refused_nonces(world: World, authority: Authority, refusals: int) -> None:
    authority.bad_nonces = refusals
    assert world.look().renewed is not None


def test_nonces_refused_for_ever(world: World, authority: Authority) -> None:
    authority.bad_nonces = 1000
    outcome = world.look()
    assert outcome.problem is not None
    assert outcome.problem.kind == "badNonce"
    assert authority.paths() == ["/newAccount"] * 10


def test_account_that_was_forgotten_is_registered_again_with_its_key(world: World, authority: Authority) -> None:
    world.look()
    key = world.storage.account(authority.url).key
    authority.forget_accounts()
    world.now = NOW + 61 * DAY
    assert world.look().renewed is not None
    assert world.storage.account(authority.url).key == key
    assert world.storage.account(authority.url).kid in authority.accounts


def test_damaged_account_is_never_replaced(world: World, authority: Authority) -> None:
    world.look()
    file = next(world.folder.glob("*/account.json"))
    file.write_bytes(b"{")
    world.now = NOW + 61 * DAY
    outcome = world.look()
    assert outcome.problem is not None
    assert outcome.problem.sentence == (
        f"{file} is damaged; restore it from a backup, or remove it to create a new account"
    )
    assert file.read_bytes() == b"{"


@pytest.mark.parametrize(
    ("kind", "hours"),
    [
        ("caa", 12), ("rejectedIdentifier", 12), ("unsupportedIdentifier", 12), ("userActionRequired", 12),
        ("externalAccountRequired", 12), ("serverInternal", 1 / 60), ("rateLimited", 1 / 60), ("malformed", 1 / 60),
    ],
)  # fmt: skip
def test_refused_order(world: World, authority: Authority, kind: str, hours: float) -> None:
    authority.refuse = lambda _method, path: problem(kind, "x" * 999) if path == "/newOrder" else None
    outcome = world.look()
    assert outcome.problem is not None
    assert outcome.problem.kind == kind
    words, _, todo = outcome.problem.sentence.partition("; ")
    assert (len(words), bool(todo)) == (300, True)
    assert outcome.next_attempt == pytest.approx(NOW + 3600 * hours, abs=2)
    assert outcome.is_new_problem
    world.now = outcome.next_attempt
    assert not world.look().is_new_problem


def test_retry_after(world: World, authority: Authority) -> None:
    authority.refuse = lambda _method, path: (
        problem("rateLimited", status=429, Retry_After="7200") if path == "/newOrder" else None
    )
    assert world.look().next_attempt >= NOW + 7200
    asked = len(authority.requests)
    world.now = NOW + 7100
    world.look()
    assert len(authority.requests) == asked


def test_changed_config_forgets_the_wait(world: World, authority: Authority) -> None:
    authority.refuse = lambda _method, path: problem("caa") if path == "/newOrder" else None
    world.look()
    authority.refuse = lambda _method, _path: None
    assert world.look().renewed is None
    world.job = replace(world.job, email="admin@example.com")
    assert world.look().renewed is not None


def test_proof_that_is_not_accepted(world: World, authority: Authority) -> None:
    error = {"type": "urn:ietf:params:acme:error:connection", "detail": "Connection refused"}
    kinds: list[str] = []

    def validate(kind: str, _name: str, _token: str) -> dict[str, str]:
        kinds.append(kind)
        return error

    authority.validate = validate
    for _ in range(3):
        outcome = world.look()
        assert outcome.problem is not None
        assert outcome.problem.sentence.startswith("Connection refused; the authority could not connect; open port 443")
        assert world.leftovers() == []
        world.now = outcome.next_attempt
    assert kinds == ["tls-alpn-01", "http-01", "tls-alpn-01"]
    assert authority.issued == []


def test_next_directory_after_many_failures(world: World, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Authority(tmp_path / "other") as other:
        bundle = tmp_path / "both.pem"
        bundle.write_bytes(authority.ca.read_bytes() + other.ca.read_bytes())
        world.job = replace(world.job, directories=((authority.url, True), (other.url, True)), ca=bundle)
        authority.refuse = lambda _method, path: (500, {}, b"") if path == "/dir" else None
        failures = 0
        while (outcome := world.look()).renewed is None:
            failures += 1
            world.now = outcome.next_attempt
        assert failures == 13
        assert outcome.renewed.directory == other.url
        assert world.now - NOW < 4 * DAY


def test_name_without_address_counts_no_failure(world: World, authority: Authority) -> None:
    world.has_address = False
    world.job = replace(world.job, directories=((authority.url, False),))
    outcome = world.look()
    assert outcome.problem is not None
    assert outcome.problem.kind == "no_address"
    assert outcome.next_attempt == NOW + 600
    assert (world.state().failures, authority.requests) == (0, [])
    world.has_address, world.now = True, NOW + 601
    assert world.look().renewed is not None


def test_external_account(world: World, authority: Authority) -> None:
    authority.external = {"kid-1": b"key"}
    refused = world.look()
    assert refused.problem is not None
    assert refused.problem.kind == "externalAccountRequired"
    world.job = replace(world.job, external_key=b"kid-1 a2V5\n")
    assert world.look().renewed is not None


def test_unknown_profile_is_left_out(world: World, authority: Authority) -> None:
    authority.profiles = {"shortlived": "six days"}
    world.job = replace(world.job, profile="shortlvd")
    outcome = world.look()
    assert outcome.renewed is not None
    assert outcome.warning == (
        f"{authority.url} does not offer the profile shortlvd, so its default is used; correct acme.profile"
    )
    world.job = replace(world.job, profile="shortlived")
    world.now += 61 * DAY
    assert world.look().warning == ""
    assert [order.get("profile") for order in authority.payloads["newOrder"]] == [None, "shortlived"]


def test_shared_account_key(world: World, authority: Authority, tmp_path: Path) -> None:
    key = SigningKey.generate()
    world.job = replace(world.job, account_key=key.pem)
    other = World(tmp_path / "node2", authority)
    other.folder.parent.mkdir()
    other.job = replace(world.job, folder=other.folder)
    assert world.look().renewed is not None
    assert other.look().renewed is not None
    assert len(authority.accounts) == 1
    assert b"PRIVATE" not in next(world.folder.glob("*/account.json")).read_bytes()


@pytest.mark.parametrize(
    ("date", "offset"),
    [
        ("Mon, 21 Sep 2026 14:13:20 GMT", None), ("Tue, 21 Sep 2038 13:33:20 GMT", 1e8), ("yesterday", None),
        ("Mon, 21 Sep 1926 13:33:20 GMT", -1e9), ("Mon, 21 Sep 999999 13:33:20 GMT", None),
    ],
)  # fmt: skip
def test_clock(world: World, authority: Authority, date: str, offset: float | None) -> None:
    authority.date = date
    outcome = world.look()
    assert outcome.renewed is not None
    if offset is None:
        assert outcome.clock_offset is None
    else:
        assert outcome.clock_offset is not None
        assert outcome.clock_offset / offset > 1


@pytest.mark.parametrize(
    ("path", "answer", "kind"),
    [
        ("/dir", (200, {}, b"<html>"), "protocol"),
        ("/dir", (301, {"Location": "https://localhost/elsewhere"}, b""), "protocol"),
        ("/dir", (503, {}, b""), "serverInternal"),
        ("/newAccount", (201, {}, {}), "protocol"),
        ("/newOrder", (201, {"Location": "http://localhost/order"}, {"status": "pending"}), "protocol"),
        ("/newOrder", (201, {"Location": "ORDER"}, {"status": "ready"}), "protocol"),
        ("/newOrder", (201, {"Location": "ORDER"}, {"status": "pending", "authorizations": []}), "protocol"),
        ("/newOrder", (201, {"Location": "ORDER"}, {"status": "pending", "authorizations": "x" * 99}), "protocol"),
        ("/newOrder", (201, {"Location": "ORDER"}, {"status": "pending", "authorizations": [5]}), "protocol"),
    ],
)
def test_nonsense(world: World, authority: Authority, path: str, answer: Answer, kind: str) -> None:
    """An authority's nonsense is a problem, and never an exception."""
    status, headers, document = answer
    headers = {name: text.replace("ORDER", f"{authority.base}/order/1") for name, text in headers.items()}
    authority.refuse = lambda _method, asked: (status, headers, document) if asked == path else None
    outcome = world.look()
    assert outcome.problem is not None
    assert outcome.problem.kind == kind


@pytest.mark.parametrize(
    "chain",
    [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "another"],
    ids=["empty", "text", "damaged", "for another key"],
)
def test_download_that_is_no_chain_never_becomes_the_pair(
    world: World, authority: Authority, chain: bytes | str, tmp_path: Path
) -> None:
    if isinstance(chain, str):
        other = World(tmp_path / "other", authority)
        other.folder.parent.mkdir()
        other.look()
        chain = other.storage.pair_file(NAME).read_bytes()
    authority.refuse = lambda _method, path: (200, {}, chain) if path.startswith("/certificate/") else None
    outcome = world.look()
    assert outcome.problem is not None
    assert outcome.problem.kind == "protocol"
    assert not world.storage.pair_file(NAME).exists()


REFUSED = {
    "no chain": ("/certificate/", (200, {}, b"no certificate")),
    "no certificate there": ("/certificate/", problem("malformed", status=404)),
    "a key that is not wanted": ("/finalize/", problem("badPublicKey")),
    "a request that is not wanted": ("/finalize/", problem("badCSR", status=403)),
}


@pytest.mark.parametrize(("path", "answer"), REFUSED.values(), ids=REFUSED)
def test_order_that_was_refused_is_continued_once(
    world: World, authority: Authority, path: str, answer: Answer
) -> None:
    """Something in between may have been wrong; for ever it would mean that no certificate ever comes."""
    authority.refuse = lambda _method, asked: answer if asked.startswith(path) else None
    orders, keys = [], set()
    for _ in range(3):
        outcome = world.look()
        assert outcome.problem is not None
        orders.append(authority.paths().count("/newOrder"))
        if stored := world.storage.order(NAME):
            keys.add(stored.key)
        world.now = outcome.next_attempt
    assert orders == [1, 1, 2]
    assert len(keys) == 2
    authority.refuse = lambda _method, _asked: None
    world.now = NOW + DAY + 1  # two were asked for in a day
    assert world.look().renewed is not None
    assert authority.paths().count("/newOrder") == 2
    assert world.leftovers() == []


PASSING = {
    "the authority is down": ("/certificate/", (503, {}, b"")),
    "too many": ("/certificate/", problem("rateLimited", status=429)),
    "at the finalization, too": ("/finalize/", problem("serverInternal", status=500)),
    "not ready yet": ("/finalize/", problem("orderNotReady", status=403)),
}


@pytest.mark.parametrize(("path", "answer"), PASSING.values(), ids=PASSING)
def test_order_that_may_still_be_fulfilled_is_continued(
    world: World, authority: Authority, path: str, answer: Answer
) -> None:
    authority.refuse = lambda _method, asked: answer if asked.startswith(path) else None
    for _ in range(6):
        outcome = world.look()
        assert outcome.problem is not None
        world.now = outcome.next_attempt
    authority.refuse = lambda _method, _asked: None
    assert world.look().renewed is not None
    assert authority.paths().count("/newOrder") == 1
    assert len(authority.issued) == 1


def test_verdict_that_never_comes(world: World, authority: Authority) -> None:
    authority.verdict_after = 10**9
    outcome = world.look()
    assert outcome.problem is not None
    assert outcome.problem.kind == "timeout"
    assert sum(world.slept) <= 180
    authority.verdict_after = 0
    world.now = outcome.next_attempt
    assert world.look().renewed is not None
    assert len(authority.issued) == 1  # the order went on


def test_second_process_does_nothing(world: World, authority: Authority) -> None:
    world.storage.prepare(NAME)
    with world.storage.locked() as mine:
        assert mine
        assert world.look() == Outcome()
    assert authority.requests == []


def test_authority_that_is_not_trusted(world: World) -> None:
    world.job = replace(world.job, ca=None)
    outcome = world.look()
    assert outcome.problem is not None
    assert outcome.problem.kind == "trust"
    assert "acme.ca" in outcome.problem.sentence


# Interrupted anywhere


class Steps:
    """Counts what changes the world: writes, removals and requests, and does something at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, act: Callable[[str], None]) -> None:
        self.count = 0
        self._at, self._act = at, act
        self._wrap(monkeypatch, files, "_write_synced", "write")
        self._wrap(monkeypatch, os, "rename", "rename")
        self._wrap(monkeypatch, os, "unlink", "unlink")
        self._wrap(monkeypatch, clients.Client, "_send", "request")

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, what: str) -> None:
        real = getattr(owner, name)

        def wrapped(*arguments: object, **more: object) -> object:
            self._step(f"before {what}")
            found = real(*arguments, **more)
            self._step(f"after {what}")
            return found

        monkeypatch.setattr(owner, name, wrapped)

    def _step(self, what: str) -> None:
        self.count += 1
        if self.count == self._at:
            self._act(what)


def _look_in_child(world: World, kill_at: int) -> bool:
    """Look in a child that is killed at a step; return whether it was."""
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, kill_at, lambda _what: os.kill(os.getpid(), signal.SIGKILL))
            code = 1
            try:
                world.look()
                code = 0
            finally:
                os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status != 0


@pytest.mark.usefixtures("unmeasured")
def test_killed_at_every_step(shared_authority: Authority, tmp_path: Path) -> None:
    """However it was stopped: one certificate, nothing left, and no attempt before the time that was written down."""
    authority = shared_authority
    kill_at, was_killed = 0, True
    while was_killed:
        kill_at += 1
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        world = World(folder, authority)
        before = len(authority.issued)
        was_killed = _look_in_child(world, kill_at)
        written = world.state().next_attempt
        asked = len(authority.requests)
        if written > world.now:
            world.look()
            assert len(authority.requests) - asked <= 1, kill_at  # no more than a look at the directory
        world.now = max(world.now, written) + 1
        world.look()
        assert len(authority.issued) == before + 1, kill_at
        pair = world.storage.pair_file(NAME).read_bytes()
        assert SigningKey.load(pair).private.public_key() == authority.issued[-1].public_key(), kill_at
        assert world.leftovers() == [], kill_at
    assert kill_at > 60


def test_full_disk_at_every_write(shared_authority: Authority, tmp_path: Path) -> None:
    """Whichever write fails, the next attempt with room goes on: one certificate."""
    authority = shared_authority
    fail_at, has_failed = 0, True
    while has_failed:
        fail_at += 1
        folder = tmp_path / str(fail_at)
        folder.mkdir()
        world = World(folder, authority)
        before, failed = len(authority.issued), []

        def fail(what: str, failed: list[str] = failed) -> None:
            if "write" in what or "rename" in what:
                failed.append(what)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with pytest.MonkeyPatch.context() as patch:
            steps = Steps(patch, fail_at, fail)
            with contextlib.suppress(OSError):
                world.look()
        has_failed = steps.count >= fail_at
        world.now = max(world.now, world.state().next_attempt) + 1
        world.look()
        assert len(authority.issued) == before + 1, (fail_at, failed)
        assert world.leftovers() == []


def test_order_with_a_damaged_key_begins_again(world: World, authority: Authority) -> None:
    world.storage.prepare(NAME)
    world.storage.write_order(NAME, StoredOrder(names=(NAME,), directory=authority.url, key="no key", url="https://x/"))
    assert world.look().renewed is not None


@pytest.mark.parametrize("file", ["state.json", "order.json", "pair.pem"])
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"[]", b'{"failures": -1e999}', b"{" * 5000])
def test_damaged_file_counts_as_missing(world: World, authority: Authority, file: str, content: bytes) -> None:
    world.look()
    (world.folder / NAME / file).write_bytes(content)
    world.now += 2 * DAY
    outcome = world.look()
    assert (outcome.renewed is not None) == (file != "state.json")
    assert outcome.problem is None


def test_facts_of_renewal_information() -> None:
    """The name of a certificate as in RFC 9773, 4.1: key identifier and serial number, with its sign byte."""
    key = SigningKey.generate().private
    identifier = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
    example = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(0x87654321)
        .not_valid_before(datetime.fromtimestamp(NOW, UTC))
        .not_valid_after(datetime.fromtimestamp(NOW + DAY, UTC))
    )
    assert facts_of(example.sign(key, hashes.SHA256()), "").ari_id == ""
    example = example.add_extension(x509.AuthorityKeyIdentifier(identifier, None, None), critical=False)
    assert facts_of(example.sign(key, hashes.SHA256()), "").ari_id == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


def test_key_of_an_account_made_elsewhere() -> None:
    assert attempts.parse_external_key(b"kid a2V5") == ("kid", b"key")
    assert attempts.parse_external_key(b"kid") is None
    assert attempts.parse_external_key(b"kid !!") is None
