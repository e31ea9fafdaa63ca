"""One look at one name: what the forked child of the steward does.

    another process has the lock             nothing
    it is time to ask for the window         ask (RFC 9773); whatever goes wrong there never stops a renewal
    it is not time for an attempt            nothing more
    the name has no address                  wait, and count no failure; not for a directory of one's own, which may
                                             know the name otherwise
    otherwise                                write down that the attempt has failed, and when the next one is; then
                                             order (orders.py); then write down how it ended

After each failed attempt the next kind of challenge has its turn, and after many in a row the next directory.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from appliance.acme import renewal
from appliance.acme.client import Client, register, trust
from appliance.acme.jws import Json, KeyFault, SigningKey, bind_external
from appliance.acme.orders import Obtained, Order, Tools, Wanted, facts_of
from appliance.acme.problems import AcmeError
from appliance.acme.renewal import CertificateFacts, Problem, Random, State
from appliance.acme.storage import Account, Storage

CLOCK_TOLERANCE: Final = 300.0
_CLOCK: Final = (
    "this machine's clock is {minutes:,.0f} minutes {way}, compared with the authority's; set it (timedatectl), or"
    " certificates will seem expired or not valid yet"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What `[acme]` says, with the secrets that it names."""

    folder: Path
    directories: tuple[tuple[str, bool], ...]
    """Each URL, and whether it is one of the operator's own."""
    challenges: tuple[str, ...]
    """The kinds that are possible here."""
    email: str = ""
    profile: str = ""
    external_key: bytes = b""
    account_key: bytes = b""
    ca: Path | None = None

    @property
    def digest(self) -> str:
        """Another one means other settings: what was waited for may have been corrected."""
        parts = (self.directories, self.challenges, self.email, self.profile, str(self.ca))
        secret = hashlib.sha256(self.external_key + b"\0" + self.account_key).hexdigest()
        return hashlib.sha256(repr((parts, secret)).encode()).hexdigest()[:16]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a look has ended, as the steward reads it."""

    renewed: CertificateFacts | None = None
    is_first: bool = False
    problem: Problem | None = None
    is_new_problem: bool = False
    """Whether the last attempt had another kind of problem, or none."""
    next_attempt: float = 0.0
    clock_offset: float | None = None
    warning: str = ""


class Attempt:
    """Looks at names, one after the other."""

    def __init__(
        self,
        job: Job,
        *,
        clock: Callable[[], float],
        timer: Callable[[], float],
        sleep: Callable[[float], None],
        random: Random,
        resolve: Callable[[str], bool],
    ) -> None:
        """`resolve` returns whether a name has an address."""
        self._job = job
        self._storage = Storage(job.folder)
        self._clock, self._timer, self._sleep, self._random, self._resolve = clock, timer, sleep, random, resolve
        self._client: Client | None = None
        self._warning = ""

    def look(self, name: str) -> Outcome:
        """Look at a name, and do what is to be done. Raises OSError: nothing is asked without a usable state."""
        self._storage.prepare(name)
        with self._storage.locked() as is_locked:
            try:
                return self._look(name) if is_locked else Outcome()
            finally:
                if self._client is not None:
                    self._client.close()

    def _look(self, name: str) -> Outcome:
        now = self._clock()
        stored = self._storage.state(name)
        state = renewal.with_config(self._with_certificate(name, stored), self._job.digest)
        directory, is_own = self._job.directories[renewal.choose(state.failures, len(self._job.directories))]
        if state.plan is not None and state.certificate is not None and renewal.is_poll_due(state, now):
            # Written before it is asked: an authority that never comes to an end is not asked again at once.
            plan = renewal.poll_failed(state.plan, now, self._random)
            self._storage.write_state(name, msgspec.structs.replace(state, plan=plan))
            state = msgspec.structs.replace(state, plan=self._with_window(state.plan, state.certificate))
        if state != stored:
            self._storage.write_state(name, state)
        has_order = self._storage.has_order(name)
        due = renewal.due_at(state, has_certificate=state.certificate is not None, has_order=has_order, now=now)
        if due > now:
            return self._outcome(next_attempt=due)
        if not is_own and not self._resolve(name):
            return self._no_address(name, state)
        return self._attempt(name, state, directory)

    def _with_certificate(self, name: str, state: State) -> State:
        """Return the state with what is really in the pair, and a plan for it."""
        try:
            leaf = x509.load_pem_x509_certificate(self._storage.pair_file(name).read_bytes())
            found = facts_of(leaf, "")
        except (OSError, ValueError):
            return msgspec.structs.replace(state, certificate=None, plan=None)
        known = state.certificate
        facts = known if known is not None and known.serial == found.serial else found
        plan = renewal.plan_of(state, facts, self._random)
        return msgspec.structs.replace(state, certificate=facts, plan=plan)

    def _with_window(self, plan: renewal.Plan, certificate: CertificateFacts) -> renewal.Plan:
        """Return the plan with the window that the certificate's authority suggests now."""
        now = self._clock()
        urls = [url for url, _ in self._job.directories]
        directory = certificate.directory if certificate.directory in urls else urls[0]
        try:
            client = Client(directory, trust(self._job.ca), SigningKey.generate(), self._clock)
            try:
                return self._ask_for_window(client, plan, certificate)
            finally:
                client.close()
        except (AcmeError, ValueError, TypeError, KeyError, OverflowError):
            return renewal.poll_failed(plan, now, self._random)

    def _ask_for_window(self, client: Client, plan: renewal.Plan, certificate: CertificateFacts) -> renewal.Plan:
        now = self._clock()
        if "renewalInfo" not in client.directory or not certificate.ari_id:
            return renewal.without_window(plan, certificate, now + renewal.DAY, self._random)
        reply = client.get(f"{client.resource('renewalInfo').rstrip('/')}/{certificate.ari_id}")
        suggested = reply.document["suggestedWindow"]
        window = (
            datetime.fromisoformat(suggested["start"]).timestamp(),
            datetime.fromisoformat(suggested["end"]).timestamp(),
        )
        retry_after = reply.retry_after or 6 * renewal.HOUR
        return renewal.with_window(plan, certificate, window, retry_after, now, self._random)

    # An attempt

    def _no_address(self, name: str, state: State) -> Outcome:
        problem = Problem(
            kind="no_address", sentence=str(AcmeError("no_address", f"{name} has no address")), at=self._clock()
        )
        after = renewal.postponed(state, problem, self._clock(), self._random)
        self._storage.write_state(name, after)
        return self._failed(state, after, problem)

    def _attempt(self, name: str, before: State, directory: str) -> Outcome:
        state = renewal.begin(before, self._clock(), self._random)
        self._storage.clear_challenges()
        self._storage.write_state(name, state)
        try:
            obtained, state = self._obtain(name, before, state, directory)
        except AcmeError as error:
            problem = Problem(kind=error.kind, sentence=str(error), at=self._clock())
            state = renewal.failed(
                self._storage.state(name),
                problem,
                self._clock(),
                self._random,
                retry_after=error.retry_after,
                only_operator=error.only_operator,
            )
            self._storage.write_state(name, state)
            return self._failed(before, state, problem)
        state = renewal.succeeded(state, obtained.facts, self._random)
        self._storage.write_state(name, state)
        self._storage.write_pair(name, obtained.pair)
        self._storage.remove_order(name)
        assert state.plan is not None  # noqa: S101
        return self._outcome(renewed=obtained.facts, is_first=before.certificate is None, next_attempt=state.plan.at)

    def _obtain(self, name: str, before: State, state: State, directory: str) -> tuple[Obtained, State]:
        """Order, and return also the state that is on the disk then. Raises AcmeError and OSError."""
        client = self._registered(directory)
        counted = state

        def count() -> None:
            nonlocal counted
            now = self._clock()
            if until := renewal.guarded_until(counted, now):
                raise AcmeError(
                    "too_many", f"{renewal.PER_DAY} certificates were requested within a day", retry_after=until - now
                )
            counted = renewal.asked(counted, now)
            self._storage.write_state(name, counted)

        order = Order(self._wanted(name, before, client), self._tools(client), count)
        try:
            return order.run(), counted
        except AcmeError as error:
            if error.kind != "accountDoesNotExist":
                raise
        # It was forgotten, as by a staging authority that was set up anew: the same key is registered again.
        self._register(client)
        return Order(self._wanted(name, before, client), self._tools(client), count).run(), counted

    def _tools(self, client: Client) -> Tools:
        return Tools(client, self._storage, self._clock, self._timer, self._sleep)

    def _wanted(self, name: str, before: State, client: Client) -> Wanted:
        certificate, job = before.certificate, self._job
        if not job.challenges:
            raise AcmeError("challenge", "none of acme.challenges is possible here")
        replaces = ""
        if certificate is not None and certificate.directory == client.url and "renewalInfo" in client.directory:
            replaces = certificate.ari_id
        turn = before.failures % len(job.challenges)
        kinds = (*job.challenges[turn:], *job.challenges[:turn])
        profile, offered = job.profile, client.meta.get("profiles")
        if profile and profile not in (offered if isinstance(offered, dict) else {}):
            self._warning = (
                f"{client.url} does not offer the profile {profile}, so its default is used; correct acme.profile"
            )
            profile = ""
        return Wanted(name, kinds, profile, replaces)

    def _registered(self, directory: str) -> Client:
        """Return a client with a registered account. The key is written down before it is registered."""
        account = self._storage.account(directory)
        if self._job.account_key:
            key = self._key(self._job.account_key, "acme.account_key")
            if account is None or account.thumbprint != key.thumbprint:
                account = Account(directory=directory, thumbprint=key.thumbprint)
                self._storage.write_account(account)
        elif account is None or not account.key:
            key = SigningKey.generate()
            account = Account(directory=directory, key=key.pem.decode(), thumbprint=key.thumbprint)
            self._storage.write_account(account)
        else:
            key = self._key(account.key.encode(), "the key in account.json")
        client = self._client = Client(directory, trust(self._job.ca), key, self._clock)
        client.kid = account.kid
        if not client.kid:
            self._register(client)
        return client

    def _register(self, client: Client) -> None:
        external = None
        if self._job.external_key:
            external = partial(_external, self._job.external_key, client.key)
        kid = register(client, self._job.email, external)
        account = self._storage.account(client.url)
        if account is not None:
            self._storage.write_account(msgspec.structs.replace(account, kid=kid))

    def _key(self, pem: bytes, what: str) -> SigningKey:
        try:
            return SigningKey.load(pem)
        except KeyFault as fault:
            raise AcmeError("account", f"{what} {fault}") from None

    # The outcome

    def _failed(self, before: State, after: State, problem: Problem) -> Outcome:
        is_new = before.problem is None or before.problem.kind != problem.kind
        return self._outcome(problem=problem, is_new_problem=is_new, next_attempt=after.next_attempt)

    def _outcome(
        self,
        *,
        next_attempt: float,
        renewed: CertificateFacts | None = None,
        is_first: bool = False,
        problem: Problem | None = None,
        is_new_problem: bool = False,
    ) -> Outcome:
        offset = self._client.clock_offset if self._client is not None else None
        return Outcome(
            renewed=renewed,
            is_first=is_first,
            problem=problem,
            is_new_problem=is_new_problem,
            next_attempt=next_attempt,
            clock_offset=offset if offset is not None and abs(offset) > CLOCK_TOLERANCE else None,
            warning=self._warning,
        )


def clock_sentence(offset: float | None) -> str:
    """Return what to say of a clock of which the authority's is so many seconds ahead; "" if nothing."""
    if offset is None or abs(offset) <= CLOCK_TOLERANCE:
        return ""
    return _CLOCK.format(minutes=abs(offset) / 60, way="slow" if offset > 0 else "fast")


def has_address(name: str) -> bool:
    """Return whether a name has an address. If that cannot be told, it may have one: the authority will say."""
    try:
        socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return error.errno not in (socket.EAI_NONAME, socket.EAI_NODATA)
    except (OSError, UnicodeError):
        return True
    return True


def parse_external_key(text: bytes) -> tuple[str, bytes] | None:
    """Return the key id and the key (base64url) of an account that was made elsewhere; None if it is not those."""
    words = text.decode("utf-8", "replace").split()
    if len(words) != 2:
        return None
    try:
        padded = words[1].replace("+", "-").replace("/", "_") + "=" * (-len(words[1]) % 4)
        return words[0], base64.b64decode(padded, b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None


def _external(text: bytes, key: SigningKey, url: str) -> Json:
    parsed = parse_external_key(text)
    if parsed is None:
        raise AcmeError("externalAccountRequired", "acme.eab must hold a key id and a key, with a space between them")
    return bind_external(key, url, *parsed)
