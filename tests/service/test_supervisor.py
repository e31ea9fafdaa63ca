"""The supervisor's states, with a fleet, signals and deployments that only pretend: each cell of its table."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.bootstrap import certificates
from appliance.config.reader import ConfigError, Fault
from appliance.errors import StartError
from appliance.observe.health import SupervisorStatus
from appliance.observe.shared_value import SharedValue
from appliance.service import supervisor as module
from appliance.service.supervisor import Supervisor
from appliance.system.terminal import Action
from tests.conftest import Logged
from tests.factory import Timer


class Deployment:
    """A deployment with or without a snapshot."""

    def __init__(self, name: str, *, rows: int | None = 6) -> None:
        self.name = name
        self.rows = rows
        self.workers = 2
        self.settings = name
        self.certificate_fingerprint = "old"
        self.certificates = ()
        self.tls_context = object()
        self.counters = SimpleNamespace(totals=lambda: SimpleNamespace(open=3))

    def snapshot_metadata(self) -> SimpleNamespace | None:
        return None if self.rows is None else SimpleNamespace(rows=self.rows)


class Fleet:
    """What a supervisor sees of a fleet, and what it asks of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_empty = self.is_complete = self.initial_import_done = self.steward_failed = False
        self.failed_startup: Deployment | None = None
        self.restarts = {"worker": 0, "steward": 0}
        self.start_fault = ""

    def reconcile(self) -> None:
        """Nothing happens by itself."""

    def prepare(self, deployment: Deployment) -> None:
        self.is_complete = self.initial_import_done = self.steward_failed = False
        self.failed_startup = None
        self.asked.append(f"prepare {deployment.name}")

    def roll_out(self, deployment: Deployment) -> None:
        self.asked.append(f"roll out {deployment.name}")

    def roll_back(self, deployment: Deployment) -> None:
        self.asked.append(f"roll back {deployment.name}")

    def end(self) -> None:
        self.asked.append("end")


class Notifier:
    """Keeps what systemd is told."""

    def __init__(self) -> None:
        self.watchdog = 30.0
        self.told: list[dict[str, object]] = []

    def notify(self, **fields: object) -> None:
        self.told.append(fields)

    def notify_reloading(self) -> None:
        self.notify(RELOADING=1)


class World:
    """A supervisor and all that is around it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, first: Deployment) -> None:
        self.fleet, self.notifier, self.timer = Fleet(), Notifier(), Timer(100.0)
        self.next: Deployment | Exception = Deployment("b")
        self.reloads: list[Deployment] = []
        self.files = "old"
        self.certificate: Callable[[Deployment], Deployment] = lambda _current: Deployment("renewed")
        self.hangup = Action.RELOAD
        self.gone: Action | None = None
        self.open = True
        self.status = SharedValue(SupervisorStatus())
        self._received: SimpleNamespace | None = None
        monkeypatch.setattr(signal, "sigtimedwait", lambda _signals, _seconds: self._received)
        monkeypatch.setattr(certificates, "fingerprint", lambda _settings: self.files)
        monkeypatch.setattr(module, "with_new_certificate", self._renew)
        monkeypatch.setattr(module, "format_address", str)
        nothing: Any = SimpleNamespace(read=lambda: None, flush=lambda: None, look=lambda: None)
        self.supervisor = Supervisor(
            first,  # type: ignore[arg-type]
            self._reload,  # type: ignore[arg-type]
            self.fleet,  # type: ignore[arg-type]
            SimpleNamespace(public=["here"], admin=[], close=self._close),  # type: ignore[arg-type]
            self.status,
            (),
            notifier=self.notifier,  # type: ignore[arg-type]
            terminal=SimpleNamespace(on_sighup=lambda _code: self.hangup, poll=lambda: self.gone),  # type: ignore[arg-type]
            writer=nothing,
            raw=nothing,
            unpacked=nothing,
            timer=self.timer,
        )

    def _reload(self, current: Deployment) -> Deployment:
        self.reloads.append(current)
        if isinstance(self.next, Exception):
            raise self.next
        return self.next

    def _renew(self, current: Deployment) -> Deployment:
        return self.certificate(current)

    def _close(self) -> None:
        self.open = False

    def turn(self, number: signal.Signals | None = None, seconds: float = 0.0) -> list[str]:
        """Let it go round once, after some time, with a signal or without; return what it asked of the fleet."""
        self.timer.now += seconds
        self._received = None if number is None else SimpleNamespace(si_signo=number, si_code=0)
        self.fleet.asked.clear()
        self.supervisor._run_once()
        return list(self.fleet.asked)

    def complete(self) -> list[str]:
        """Let all workers be ready."""
        self.fleet.is_complete = True
        return self.turn()

    def told(self) -> list[dict[str, object]]:
        """Return what systemd was told since the last call, without the time."""
        told, self.notifier.told[:] = list(self.notifier.told), []
        return told


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, logged: Logged) -> World:
    """One that serves."""
    made = World(monkeypatch, Deployment("a"))
    made.complete()
    logged.take("serving")
    made.told()
    return made


# STARTING


def test_with_a_snapshot_the_first_workers_start_at_once(monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    world = World(monkeypatch, Deployment("a"))
    assert world.fleet.asked == ["prepare a", "roll out a"]
    assert world.turn() == []
    assert world.told() == []
    world.complete()
    said = logged.take("serving")
    assert (said["workers"], said["rows"], said["addresses"], said["tls"]) == (2, 6, ["here"], True)
    assert world.told() == [{"READY": 1, "STATUS": "2 workers on here, 6 customers"}]


@pytest.mark.parametrize(
    ("failed", "rows", "customers"),
    [pytest.param(False, 6, "6", id="it works"), pytest.param(True, None, "no", id="it fails, or the steward dies")],
)
def test_without_a_snapshot_they_wait_for_the_first_import(
    failed: bool, rows: int | None, customers: str, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    first = Deployment("a", rows=None)
    world = World(monkeypatch, first)
    world.fleet.is_complete = True  # by all that it knows: none are wanted
    assert world.fleet.asked == ["prepare a"]
    assert world.turn(seconds=20) == []
    assert world.told() == [
        {"WATCHDOG": 1},
        {"EXTEND_TIMEOUT_USEC": 30_000_000, "STATUS": "importing the customers"},
    ]
    first.rows, world.fleet.is_complete = rows, False
    world.fleet.initial_import_done, world.fleet.steward_failed = not failed, failed
    assert world.turn() == ["roll out a"]
    world.complete()
    assert logged.take("serving")["rows"] == rows
    assert world.told() == [{"READY": 1, "STATUS": f"2 workers on here, {customers} customers"}]


def test_workers_that_exit_at_startup_end_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Deployment("a")
    world = World(monkeypatch, first)
    world.fleet.failed_startup = first
    with pytest.raises(StartError, match="a worker exited during startup; see the lines above"):
        world.turn()


def test_a_reload_that_is_asked_for_during_the_start_comes_after_it(
    monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    world = World(monkeypatch, Deployment("a"))
    world.turn(signal.SIGHUP)
    assert world.reloads == []
    assert world.complete() == ["prepare b", "roll out b"]
    logged.take("serving")


# SERVING, ROLLING OUT


def test_a_reload_is_in_use_when_its_workers_are_ready(world: World, logged: Logged) -> None:
    assert world.turn(signal.SIGHUP) == ["prepare b", "roll out b"]
    assert [each.name for each in world.reloads] == ["a"]
    assert world.told() == [{"RELOADING": 1}]
    world.complete()
    assert logged.take("reloaded")["workers"] == 2
    assert world.told() == [{"READY": 1, "STATUS": "2 workers on here, 6 customers"}]
    world.turn(signal.SIGHUP)
    assert [each.name for each in world.reloads] == ["a", "b"]


def test_one_that_is_asked_for_during_a_rollout_comes_after_it(world: World, logged: Logged) -> None:
    world.turn(signal.SIGHUP)
    world.next = Deployment("c")
    assert world.turn(signal.SIGHUP) == []
    assert world.complete() == ["prepare c", "roll out c"]
    logged.take("reloaded")


def config_error(faults: int) -> ConfigError:
    return ConfigError([Fault(None, None, f"key_{number}", "unknown", None, "correct it") for number in range(faults)])


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(config_error(2), id="a wrong config"),
        pytest.param(config_error(1000), id="a config with a thousand faults"),
        pytest.param(StartError("no state folder"), id="what a start would end with"),
        pytest.param(OSError(24, "Too many open files"), id="no descriptors"),
    ],
)
def test_a_new_state_that_is_not_valid_changes_nothing(error: Exception, world: World, logged: Logged) -> None:
    world.next = error
    assert world.turn(signal.SIGHUP) == []
    assert str(logged.take("reload_refused")["why"])[:100] == str(error)[:100]
    first_line = str(error).splitlines()[0]
    still = f"still serving with the previous config; reload failed: {first_line}"
    assert world.told() == [{"RELOADING": 1}, {"READY": 1, "STATUS": still}]
    assert world.status.read().reload_fault == str(error)[: module._MAX_FAULT]
    world.next = Deployment("b")
    world.turn(signal.SIGHUP)
    assert world.status.read().reload_fault == ""


@pytest.mark.parametrize("event", ["initial_import_done", "steward_failed"])
def test_a_rollout_whose_customers_cannot_be_imported_is_rolled_back(event: str, world: World, logged: Logged) -> None:
    world.next = Deployment("b", rows=None)
    assert world.turn(signal.SIGHUP) == ["prepare b"]
    setattr(world.fleet, event, True)
    assert world.turn() == ["roll back a"]
    assert logged.take("reload_refused")["why"] == "importing its customers failed; see import_refused"
    assert world.turn() == []


def test_a_rollout_waits_for_its_import(world: World) -> None:
    world.next = following = Deployment("b", rows=None)
    assert world.turn(signal.SIGHUP) == ["prepare b"]
    assert world.turn() == []
    following.rows, world.fleet.initial_import_done = 7, True
    assert world.turn() == ["roll out b"]


def test_a_rollout_whose_workers_exit_at_startup_is_rolled_back(world: World, logged: Logged) -> None:
    following = Deployment("b")
    world.next = following
    world.turn(signal.SIGHUP)
    world.fleet.failed_startup = following
    assert world.turn() == ["roll back a"]
    assert logged.take("reload_refused")["why"] == "its workers exit during startup; see the lines above"
    assert world.turn() == []


def test_a_new_certificate_is_used_when_its_files_have_stopped_changing(world: World, logged: Logged) -> None:
    world.files = "half"
    assert world.turn() == []
    world.files = "new"
    assert world.turn() == []
    assert world.turn() == ["prepare renewed", "roll out renewed"]
    logged.take("certificate_changed")


def test_one_that_cannot_be_used_is_said_once_and_tried_again(world: World, logged: Logged) -> None:
    tried: list[Deployment] = []

    def refuse(current: Deployment) -> Deployment:
        tried.append(current)
        raise StartError("key.pem: cannot be read")

    good, world.certificate = world.certificate, refuse
    world.files = "new"
    for _ in range(4):
        assert world.turn() == []
    assert logged.take("certificate_refused")["why"] == "key.pem: cannot be read"
    assert (len(tried), world.status.read().certificate_fault) == (3, "key.pem: cannot be read")
    world.certificate = good
    assert world.turn() == ["prepare renewed", "roll out renewed"]
    logged.take("certificate_changed")
    assert world.status.read().certificate_fault == ""


def test_one_that_is_put_back_is_no_fault_any_more(world: World, logged: Logged) -> None:
    def refuse(_current: Deployment) -> Deployment:
        raise StartError("no")

    world.certificate, world.files = refuse, "new"
    world.turn()
    world.turn()
    logged.take("certificate_refused")
    world.files = "old"
    assert world.turn() == []
    assert world.status.read().certificate_fault == ""


# STOPPING


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_a_second_one_at_once(number: signal.Signals, world: World, logged: Logged) -> None:
    assert world.turn(number) == ["end"]
    assert logged.take("stopping")["connections"] == 3
    assert not world.open
    assert world.told() == [{"STOPPING": 1, "STATUS": "finishing the running requests"}]
    assert world.turn(number, seconds=0.4) == []  # the same press of Ctrl-C
    assert world.turn(number, seconds=0.6) == ["end"]
    assert world.turn(signal.SIGHUP) == []
    world.files = "new"
    assert [world.turn() for _ in range(3)] == [[]] * 3
    assert world.reloads == []


def test_it_ends_with_the_last_child(world: World, logged: Logged) -> None:
    world.fleet.is_empty = True
    world.hangup = Action.STOP
    world._received = SimpleNamespace(si_signo=signal.SIGHUP, si_code=0)
    world.supervisor.run()
    for event in ("stopping", "stopped"):
        logged.take(event)


@pytest.mark.parametrize(
    ("action", "asked", "event"),
    [
        pytest.param(Action.STOP, ["end"], "stopping", id="stops it"),
        pytest.param(Action.STAY, [], "terminal_gone", id="is only said, under nohup"),
    ],
)
@pytest.mark.parametrize("by_signal", [True, False], ids=["by SIGHUP", "seen"])
def test_the_end_of_the_terminal(
    by_signal: bool, action: Action, asked: list[str], event: str, world: World, logged: Logged
) -> None:
    if by_signal:
        world.hangup = action
    else:
        world.gone = action
    assert world.turn(signal.SIGHUP if by_signal else None) == asked
    logged.take(event)
