"""The state of a preview: an app from the operator's settings, template and data, rebuilt when one of them changes.

A fault changes only the list of faults: the last good state stays. The operator's files are only read; data is imported
into a folder of the preview's own.
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
from appliance.bootstrap.wiring import import_spec_of, make_app, make_page, make_protocol
from appliance.cards.help_scout_html import clean, removals_of, sentences
from appliance.config.files import read_card
from appliance.config.reader import ConfigError
from appliance.config.schema import App, Settings
from appliance.customers.address import readable
from appliance.customers.snapshot import Snapshot, SnapshotError
from appliance.customers.snapshot_store import open_newest
from appliance.edge.refusals import MAX_BODY_BYTES, Refusal
from appliance.ingest import resources
from appliance.ingest.fingerprint import fingerprint
from appliance.ingest.spec import ImportRefused, ImportSpec
from appliance.outcomes import CARD_STATUS, Outcome
from appliance.preview.customer_search import CustomerMatch, search
from appliance.preview.examples import DataState, Example, examples, message
from appliance.preview.fault_view import FaultView, view_fault
from appliance.preview.page_form import PageForm, PretendedIds, framed, page_form
from appliance.service.import_child import ImportChild, ImportFailed, ImportResult
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.base import HelpDesk, Message
from appliance.system.files import fingerprint_of

_DAY: Final = 86400.0


class PreviewAnswer(msgspec.Struct, frozen=True):
    """What the help desk would receive, and how long it took. `html` is the card, or None for a refusal."""

    status: int
    outcome: Outcome
    text: str
    size: int
    milliseconds: float
    html: str | None
    shown: str | None
    """What an agent sees of it, after the help desk has removed what it does not allow."""

    faults: tuple[FaultView, ...]
    warnings: tuple[FaultView, ...]
    page: PageForm | None
    """The same conversation as a page, if the app has one."""


class Choice(msgspec.Struct, frozen=True):
    """A customer to choose: the name, the main address, the same in readable form, and the message about them."""

    name: str
    address: str
    readable: str
    body: str


class State(msgspec.Struct, frozen=True):
    """What the page shows besides answers. `as_of` is seconds since 1970."""

    app: str
    files: tuple[str, ...]
    rows: int | None
    as_of: float | None
    importing: bool
    faults: tuple[FaultView, ...]
    warnings: tuple[FaultView, ...]
    examples: tuple[Example, ...]


class Session:
    """One preview. Its methods never fail, whatever happens to the operator's files."""

    def __init__(self, settings: Settings, app: App, read: Callable[[], Settings], folder: Path) -> None:
        """Make the app from the settings, and start the first import.

        `read` returns the current settings, or raises ConfigError; `folder`, which does not exist yet, is for the data.
        The calling process must have no other threads.
        """
        self._settings, self._app, self._read, self._folder = settings, app, read, folder
        self._protocol = self._make_protocol(app)
        self._ids = PretendedIds()
        self._settings_faults: tuple[FaultView, ...] = ()
        self._data_faults: tuple[FaultView, ...] = ()
        self._apps: dict[DataState, SidebarApp] = {}
        self._snapshot: Snapshot | None = None
        self._imported: tuple[ImportSpec, str] | None = None
        self.child: ImportChild | None = None
        self._spec = import_spec_of(settings)
        self._fingerprint = self._take_fingerprint()
        self._make()
        self._open_kept()
        self._import_if_changed()

    # Queries

    @property
    def state(self) -> State:
        """The current state."""
        facts = self._snapshot.metadata if self._snapshot else None
        files = [file.name for file in (self._settings.file, self._app.card) if file]
        return State(
            app=self._app.name,
            files=tuple(dict.fromkeys([*files, *(source.name for source in self._spec.sources)])),
            rows=facts.rows if facts else None,
            as_of=self._snapshot.as_of if self._snapshot else None,
            importing=self.child is not None,
            faults=self._settings_faults + self._data_faults,
            warnings=tuple(view_fault(sentence, self._app.card) for sentence in self._removed()),
            examples=examples(self._protocol, self._matches(""), self._company(), has_page=self._app.page is not None),
        )

    def _company(self) -> str | None:
        """Return the domain of a company among the customers, if there is one."""
        try:
            return self._snapshot.first_company() if self._snapshot else None
        except SnapshotError:
            return None  # the answer says so

    def answer(self, body: bytes, data: DataState) -> PreviewAnswer:
        """Return the answer to a message that is signed and sent as by the help desk."""
        app = self._fresh(data)
        protocol = app.protocol
        request = Message(body, protocol.sign(body).encode())
        started = time.perf_counter()
        reply = app.answer(request) if len(body) <= MAX_BODY_BYTES else Refusal.BODY_TOO_LARGE.reply
        seconds = time.perf_counter() - started
        response = reply.response
        card = protocol.read_card(response.body) if response.status == CARD_STATUS else None
        # While the files cannot be used, the template is the previous one: its lines are not those in the file.
        is_current = not self._settings_faults
        shown, warnings = self._shown_of(card)
        return PreviewAnswer(
            status=response.status,
            outcome=reply.outcome,
            text=response.body.decode(),
            size=len(response.body),
            milliseconds=round(seconds * 1000, 3),
            html=card,
            shown=shown,
            faults=(view_fault(reply.fault, self._app.card),) if reply.fault and is_current else (),
            warnings=warnings,
            page=page_form(app, self._app.path, body, data, self._ids) if card is not None else None,
        )

    def page(self, query: str, data: DataState) -> bytes | None:
        """Return the document that a visit with this query gets; None if it is refused."""
        return framed(self._fresh(data), query)

    def _fresh(self, data: DataState) -> SidebarApp:
        """Return the app for this state of the data, its cache empty: the time shown is of a first request."""
        app = self._apps[DataState.OLD if data is DataState.OLD else DataState.LIVE]
        app.use(None if data is DataState.NOT_LOADED else self._snapshot)
        return app

    def _removed(self) -> tuple[str, ...]:
        """Return what the help desk removes from the template as it is in its file."""
        if not self._protocol.removes_html:
            return ()
        try:
            text = read_card(self._app)
        except ConfigError:  # it is among the faults already
            return ()
        return tuple(sentences(str(self._app.card), removals_of(text))) if text is not None else ()

    def _shown_of(self, html: str | None) -> tuple[str | None, tuple[FaultView, ...]]:
        """Return what an agent sees of a card, and warnings about what is removed."""
        if html is None:
            return None, ()
        cleaned, is_blank, warnings = html, not html.strip(), []
        if self._protocol.removes_html:
            cleaned, removals, is_blank = clean(html)
            said = "\n".join(self._removed())
            things = dict.fromkeys(removal.what for removal in removals)
            warnings = [
                f"the help desk removes {what}, which comes from a value" for what in things if f" {what}" not in said
            ]
        if is_blank:
            warnings.append("the card is empty, so agents see nothing")
        return cleaned, tuple(FaultView("", warning) for warning in warnings)

    def choices(self, text: str) -> tuple[Choice, ...]:
        """Return the customers that match `text`."""
        return tuple(
            Choice(
                match.name,
                match.addresses[0],
                readable(match.addresses[0]),
                message(self._protocol, match.name, match.addresses),
            )
            for match in self._matches(text)
        )

    def _matches(self, text: str) -> tuple[CustomerMatch, ...]:
        try:
            return search(self._snapshot, self._spec, text) if self._snapshot else ()
        except SnapshotError:
            return ()  # the answer shows the fault

    # Changes

    def poll(self) -> bool:
        """Apply what has changed since the last call, and return whether anything has.

        An import runs in a child process: when `child.descriptor` becomes readable, call `finish_import`.
        """
        fingerprint = self._take_fingerprint()
        changed = fingerprint != self._fingerprint
        if changed:
            self._fingerprint = fingerprint
            self._reload()
        return self._import_if_changed() or changed

    def finish_import(self) -> None:
        """Use the result of the import, which has ended."""
        if self.child is None:
            return
        child, self.child = self.child, None
        self._use_import(child.result())

    def close(self) -> None:
        """Stop a running import, and close the snapshot."""
        if self.child is not None:
            self.child.kill()
            self.child.result()
        if self._snapshot is not None:
            self._snapshot.close()

    def _take_fingerprint(self) -> str:
        return fingerprint_of(file for file in (self._settings.file, self._app.card) if file)

    def _reload(self) -> None:
        """Read the settings and the template again."""
        try:
            settings = self._read()
        except ConfigError as error:
            self._settings_faults = self._shown(error)
            return
        app = next((app for app in settings.apps if app.name == self._app.name), None)
        if app is None:
            self._settings_faults = (
                FaultView("", f'the config has no app "{self._app.name}" any more; restart sidebard preview'),
            )
            return
        self._settings, self._app, self._spec = settings, app, import_spec_of(settings)
        self._fingerprint = self._take_fingerprint()  # it may name another template now
        self._make()

    def _make(self) -> None:
        """Make the apps again; if the template cannot be used, keep the previous ones."""
        self._settings_faults = ()
        try:
            self._apps = self._make_apps(self._app)
        except ConfigError as error:
            self._settings_faults = self._shown(error)
            if not self._apps:  # there is no good state yet: the built-in card
                self._apps = self._make_apps(replace(self._app, card=None))

    def _make_apps(self, app: App) -> dict[DataState, SidebarApp]:
        settings = self._settings
        customers = replace(settings.customers, max_age=settings.customers.max_age or _DAY)
        old, ahead = replace(settings, customers=customers), (customers.max_age or 0) + _DAY
        protocol = self._make_protocol(app)
        page = make_page(app, [secrets.token_bytes(20)])
        made = {
            DataState.LIVE: make_app(settings, app, protocol, page=page, ids=self._ids),
            DataState.OLD: make_app(old, app, protocol, clock=lambda: time.time() + ahead, page=page, ids=self._ids),
        }
        self._protocol = protocol
        return made

    def _make_protocol(self, app: App) -> HelpDesk:
        return make_protocol(app, [secrets.token_bytes(20)])

    def _open_kept(self) -> None:
        """Use the service's own snapshot, at least until changed files are imported."""
        with suppress(OSError):  # it may be another user's
            self._snapshot = open_newest(snapshot_folder(self._settings), self._spec.digest())
        if self._snapshot is not None and self._snapshot.metadata.fingerprint == fingerprint(self._spec):
            self._imported = self._wanted()

    def _wanted(self) -> tuple[ImportSpec, str]:
        """Return all that decides how an import would end now, including what its plan allows."""
        return self._spec, fingerprint(self._spec)

    def _import_if_changed(self) -> bool:
        wanted = self._wanted()
        if wanted == self._imported or self.child is not None:
            return False
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            # Rows are removed and added again while a card is made: no number is too small.
            self.child = ImportChild(replace(self._spec, max_shrink=1.0), self._folder)
        except (OSError, ImportRefused) as error:  # the next call tries again
            before, self._data_faults = self._data_faults, (view_fault(_sentence(error, self._folder), None),)
            return self._data_faults != before
        self._imported = wanted
        return True

    def _use_import(self, result: ImportResult) -> None:
        if isinstance(result, ImportFailed):
            sentences = [result.sentence, *map(str, result.bad)]
            self._data_faults = tuple(view_fault(sentence, None) for sentence in sentences)
            return
        opened = open_newest(self._folder, self._spec.digest())
        if opened is not None:  # else the settings have changed meanwhile, and another import follows
            if self._snapshot is not None:
                self._snapshot.close()
            self._snapshot = opened
        self._data_faults = ()

    def _shown(self, error: ConfigError) -> tuple[FaultView, ...]:
        return tuple(view_fault(str(fault), self._app.card) for fault in error.faults)


def _sentence(error: Exception, folder: Path) -> str:
    return str(error) if isinstance(error, ImportRefused) else resources.explain(error, folder)
