"""What the page shows: an app made of the operator's settings, template and data, made again when one of them changes.

A fault changes nothing but the list of faults: the last good state stays. The operator's files are only read; data is
imported into a folder of our own.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from appliance.bootstrap.state_folder import snapshot_folder
from appliance.bootstrap.wiring import make_app, make_protocol, plan_of
from appliance.cards.help_scout_html import clean, removals_of, sentences
from appliance.config.files import read_card
from appliance.config.schema import App, ConfigError, Settings
from appliance.customers.address import readable
from appliance.customers.snapshot import Snapshot, SnapshotFault
from appliance.customers.snapshot_store import open_newest
from appliance.edge.refusals import MAX_BODY_BYTES, Refusal
from appliance.ingest import validation
from appliance.ingest.fingerprint import fingerprint
from appliance.ingest.spec import Refused
from appliance.outcomes import CARD_STATUS, Outcome
from appliance.preview.examples import Data, Example, examples, message
from appliance.preview.faults import Shown, show
from appliance.preview.people import Person, search
from appliance.service.importing import Failed, ImportChild, Result
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.base import HelpDesk, Message
from appliance.system.files import fingerprint_of

_DAY: Final = 86400.0


class Answer(msgspec.Struct, frozen=True):
    """What Help Scout would get, and how long it took. `html` is the card, or None for a refusal."""

    status: int
    outcome: Outcome
    text: str
    size: int
    milliseconds: float
    html: str | None
    shown: str | None
    """What an agent sees of it: what Help Scout leaves."""

    faults: tuple[Shown, ...]
    warnings: tuple[Shown, ...]


class Choice(msgspec.Struct, frozen=True):
    """A customer to choose: the name, the main address, the same as people write it, and the message about them."""

    name: str
    address: str
    readable: str
    body: str


class State(msgspec.Struct, frozen=True):
    """What the page has to know besides answers. `as_of` is seconds since 1970."""

    app: str
    files: tuple[str, ...]
    rows: int | None
    as_of: float | None
    importing: bool
    faults: tuple[Shown, ...]
    warnings: tuple[Shown, ...]
    examples: tuple[Example, ...]


class Session:
    """The state of one preview. Its methods never fail, whatever the operator's files become."""

    def __init__(self, settings: Settings, app: App, read: Callable[[], Settings], folder: Path) -> None:
        """Make the app of the settings and start the first import.

        `read` gives the settings anew, or raises ConfigError; `folder`, not there yet, is for the data. The calling
        process must have no other threads.
        """
        self._settings, self._app, self._read, self._folder = settings, app, read, folder
        self._protocol = self._make_protocol(app)
        self._settings_faults: tuple[Shown, ...] = ()
        self._data_faults: tuple[Shown, ...] = ()
        self._apps: dict[Data, SidebarApp] = {}
        self._snapshot: Snapshot | None = None
        self._tried = ""
        self.child: ImportChild | None = None
        self._plan = plan_of(settings)
        self._stamp = self._look()
        self._make()
        self._open_kept()
        self._import_if_changed()

    # What the page asks

    @property
    def state(self) -> State:
        """What is true now."""
        facts = self._snapshot.facts if self._snapshot else None
        files = [self._settings.file, self._app.card, *self._plan.files]
        return State(
            app=self._app.name,
            files=tuple(dict.fromkeys(file.name for file in files if file)),
            rows=facts.rows if facts else None,
            as_of=facts.as_of if facts else None,
            importing=self.child is not None,
            faults=self._settings_faults + self._data_faults,
            warnings=tuple(show(sentence, self._app.card) for sentence in self._removed()),
            examples=examples(self._protocol, self._people("")),
        )

    def answer(self, body: bytes, data: Data) -> Answer:
        """Give the answer to a message, signed and asked as Help Scout would."""
        app = self._apps[Data.OLD if data is Data.OLD else Data.LIVE]
        # It forgets what was answered before: the time that is shown is a first request's.
        app.use(None if data is Data.NOT_LOADED else self._snapshot)
        protocol = app.protocol
        request = Message(body, protocol.sign(body).encode())
        started = time.perf_counter()
        reply = app.answer(request) if len(body) <= MAX_BODY_BYTES else Refusal.BODY_TOO_LARGE.reply
        seconds = time.perf_counter() - started
        response = reply.response
        card = protocol.read_card(response.body) if response.status == CARD_STATUS else None
        # While the files cannot be used, the template is one of before: its lines are not those in the file.
        is_of_now = not self._settings_faults
        shown, warnings = self._shown_of(card)
        return Answer(
            status=response.status,
            outcome=reply.outcome,
            text=response.body.decode(),
            size=len(response.body),
            milliseconds=round(seconds * 1000, 3),
            html=card,
            shown=shown,
            faults=(show(reply.fault, self._app.card),) if reply.fault and is_of_now else (),
            warnings=warnings,
        )

    def _removed(self) -> tuple[str, ...]:
        """Say what Help Scout removes of the template as it is in its file."""
        if not self._protocol.removes_html:
            return ()
        try:
            text = read_card(self._app)
        except ConfigError:  # which is among the faults
            return ()
        return tuple(sentences(str(self._app.card), removals_of(text))) if text is not None else ()

    def _shown_of(self, html: str | None) -> tuple[str | None, tuple[Shown, ...]]:
        """Return what an agent sees of a card, and what to say of the rest."""
        if html is None:
            return None, ()
        cleaned, is_blank, warnings = html, not html.strip(), []
        if self._protocol.removes_html:
            cleaned, removals, is_blank = clean(html)
            said = "\n".join(self._removed())
            things = dict.fromkeys(removal.what for removal in removals)
            warnings = [f"Help Scout removes {what}, which a value brings" for what in things if f" {what}" not in said]
        if is_blank:
            warnings.append("the card is empty, so agents see nothing")
        return cleaned, tuple(Shown("", warning) for warning in warnings)

    def choices(self, text: str) -> tuple[Choice, ...]:
        """Give the customers that `text` finds."""
        return tuple(
            Choice(
                person.name,
                person.addresses[0],
                readable(person.addresses[0]),
                message(self._protocol, person.name, person.addresses),
            )
            for person in self._people(text)
        )

    def _people(self, text: str) -> tuple[Person, ...]:
        try:
            return search(self._snapshot, self._plan, text) if self._snapshot else ()
        except SnapshotFault:
            return ()  # the answer says so

    # What changes it

    def look(self) -> bool:
        """Take over what has changed since the last look, and say whether anything has.

        An import goes on beside in a child: when `child.descriptor` becomes readable, `take` is to be called.
        """
        stamp = self._look()
        changed = stamp != self._stamp
        if changed:
            self._stamp = stamp
            self._settle()
        return self._import_if_changed() or changed

    def take(self) -> None:
        """Take over what the import made."""
        if self.child is None:
            return
        child, self.child = self.child, None
        self._adopt(child.result())

    def close(self) -> None:
        """End what is running, and close the snapshot."""
        if self.child is not None:
            self.child.kill()
            self.child.result()
        if self._snapshot is not None:
            self._snapshot.close()

    def _look(self) -> str:
        return fingerprint_of(file for file in (self._settings.file, self._app.card) if file)

    def _settle(self) -> None:
        """Read the settings and the template again."""
        try:
            settings = self._read()
        except ConfigError as error:
            self._settings_faults = self._shown(error)
            return
        app = next((app for app in settings.apps if app.name == self._app.name), None)
        if app is None:
            self._settings_faults = (Shown("", f'there is no app "{self._app.name}" any more; start again'),)
            return
        self._settings, self._app, self._plan = settings, app, plan_of(settings)
        self._stamp = self._look()  # it may name another template now
        self._make()

    def _make(self) -> None:
        """Make the apps anew; with a template that cannot be used, keep those that are there."""
        self._settings_faults = ()
        try:
            self._apps = self._make_apps(self._app)
        except ConfigError as error:
            self._settings_faults = self._shown(error)
            if not self._apps:  # there is no good state yet: the built-in card
                self._apps = self._make_apps(replace(self._app, card=None))

    def _make_apps(self, app: App) -> dict[Data, SidebarApp]:
        settings = self._settings
        customers = replace(settings.customers, max_age=settings.customers.max_age or _DAY)
        old, ahead = replace(settings, customers=customers), (customers.max_age or 0) + _DAY
        protocol = self._make_protocol(app)
        made = {
            Data.LIVE: make_app(settings, app, protocol),
            Data.OLD: make_app(old, app, protocol, clock=lambda: time.time() + ahead),
        }
        self._protocol = protocol
        return made

    def _make_protocol(self, app: App) -> HelpDesk:
        return make_protocol(app, [secrets.token_bytes(20)])

    def _open_kept(self) -> None:
        """Use the service's own snapshot, at least until the files that have changed since are imported."""
        with suppress(OSError):  # it may be another user's
            self._snapshot = open_newest(snapshot_folder(self._settings), self._plan.digest())
        if self._snapshot is not None and self._snapshot.facts.signature == fingerprint(self._plan):
            self._tried = self._wanted()

    def _wanted(self) -> str:
        """Give a name for what an import would read now."""
        return f"{self._plan.digest()} {fingerprint(self._plan)}"

    def _import_if_changed(self) -> bool:
        wanted = self._wanted()
        if wanted == self._tried or self.child is not None:
            return False
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            # Rows are taken out and put back while a card is made: nothing is too few.
            self.child = ImportChild(replace(self._plan, max_shrink=1.0), self._folder)
        except (OSError, Refused) as error:  # the next look tries again
            before, self._data_faults = self._data_faults, (show(_sentence(error, self._folder), None),)
            return self._data_faults != before
        self._tried = wanted
        return True

    def _adopt(self, result: Result) -> None:
        if isinstance(result, Failed):
            sentences = [result.sentence, *map(str, result.bad)]
            self._data_faults = tuple(show(sentence, None) for sentence in sentences)
            return
        opened = open_newest(self._folder, self._plan.digest())
        if opened is not None:  # else the settings have changed meanwhile, and the next import is for them
            if self._snapshot is not None:
                self._snapshot.close()
            self._snapshot = opened
        self._data_faults = ()

    def _shown(self, error: ConfigError) -> tuple[Shown, ...]:
        return tuple(show(str(fault), self._app.card) for fault in error.faults)


def _sentence(error: Exception, folder: Path) -> str:
    return str(error) if isinstance(error, Refused) else validation.explain(error, folder)
