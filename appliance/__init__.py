"""sidebard answers Help Scout sidebar requests from a local customer list, over HTTPS, as one file.

    kernel -> edge -> SidebarApp.answer: signature -> payload -> lookup -> card -> reply -> bytes back, one log line

    config.py    TOML to frozen settings; every fault at once, with file and line
    cli/         what an operator types: one file a command
    preview/     the page on which a card is made, for this machine only
    edge/        from socket to request: TLS, HTTP, the Tornado application
    sidebar/     from request to card: `app.answer`, signature, payload, card, reply (the outcome table)
    customers/   from address to records: address (normal form), sources, importer, snapshot, lookup (TTL caches)
    service/     the processes: supervisor, worker, steward; the checks of an installation
    observe/     logs, audit trail, shared counters, health, admin pages
    replay/      load tests: a corpus of signed requests, the processes that send it, the result
    http_client.py   what replay and the checks share: how a URL is read, why there was no answer

Imports go one way, cli -> preview -> service -> edge -> sidebar -> customers; config and observe serve the first
four. replay stands beside: only cli knows it, and it knows sidebar, customers, http_client and the charts of observe.
"""

import os

# Python 3.11 cannot choose the groups of the key exchange, and OpenSSL's own list has more than Mozilla's
# "intermediate" allows. OpenSSL reads its configuration once, when ssl, hashlib or hmac is imported first.
os.environ.setdefault("OPENSSL_CONF", os.path.join(os.path.dirname(os.path.abspath(__file__)), "openssl.cnf"))

__version__ = "0.1.0"
