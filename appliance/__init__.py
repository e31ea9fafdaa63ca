"""sidebard answers Help Scout sidebar requests from a local customer list, over HTTPS, as one file.

    kernel -> edge -> SidebarApp.answer: signature -> inquiry -> customers -> card -> reply -> bytes back, one log line

    cli/         what an operator types: one file a command
    preview/     the page on which a card is made, for this machine only
    service/     the processes: supervisor, worker, steward, import children
    checks/      what can be found wrong before an agent finds it: named checks of an installation
    bootstrap/   from settings to objects: the one room that knows everybody
    edge/        from socket to request: TLS, HTTP, the Tornado application
    acme/        certificates from an authority: client, orders, challenges, when to renew
    replay/      load tests: a corpus of signed requests, the processes that send it, the result
    ingest/      import time: from the operator's sources to a snapshot
    inbox_api/   Help Scout's Inbox API: which addresses an id stands for
    sidebar/     from an inquiry to an answer: `app.answer`, and the protocols of help desks
    cards/       from records to HTML: the built-in card, templates
    customers/   request time: addresses, records, the snapshot and its cache
    config/      TOML to frozen settings; every fault at once, with file and line
    system/      what the operating system gives: files, processes, users, systemd
    observe/     logs, audit trail, shared counters, health, admin pages
    http_client.py  URLs, deadlines, and why there was no answer: what acme, replay and the checks share
    outcomes.py  the outcome table: how a request can end
    errors.py    the errors that carry their own exit code

Imports go one way, from the top of this list down; `tests/test_house.py` holds which room may import which.
"""

import os

# Python 3.11 cannot choose the groups of the key exchange, and OpenSSL's own list has more than Mozilla's
# "intermediate" allows. OpenSSL reads its configuration once, when ssl, hashlib or hmac is imported first.
os.environ.setdefault("OPENSSL_CONF", os.path.join(os.path.dirname(os.path.abspath(__file__)), "openssl.cnf"))

__version__ = "0.1.0"
__released__ = "2026-09-01"  # this version is no older, so no correct clock shows an earlier day
