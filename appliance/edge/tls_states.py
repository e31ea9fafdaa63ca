"""What a TLS transport is doing, and what each event does in each state. tls_transport.py says why.

    SHAKING ---- the handshake is over ----> OPEN ---- write_eof() ----> ENDED ---- close() ---.
       |                                       |                                               |
       |                                       '------ close() --------> CLOSING <-------------'
       |                                                                    |
       '-- it failed, or took too long -------> CLOSED <-- all is sent, ----'
                                                           and the client has ended

    SHAKING  nothing is known of the client; the protocol does not know of the connection yet
    OPEN     reads and writes
    ENDED    our side has ended, the client's has not: what it sends is still passed on
    CLOSING  our side has ended; what the client sends is discarded
    CLOSED   the descriptor is closed in the next turn of the loop, and the protocol told so

                     SHAKING                OPEN                  ENDED                CLOSING
    bytes            the handshake goes on  data_received         data_received        discarded, at most 8 MiB
    a fault in TLS   an alert, then failed  an alert, CLOSED      CLOSED               discarded
    the client's     failed                 eof_received; unless  eof_received, then   CLOSED once all is sent
    end                                     kept open: close()    close()
    a reset          failed                 CLOSED                CLOSED               CLOSED
    write()          -                      encrypted and sent    ignored              ignored
    write_eof()      -                      close_notify, FIN;    ignored              ignored
                                            close() if the
                                            client has ended
    close()          failed                 close_notify, FIN     CLOSED once all is   -
                                                                  sent
    abort()          failed                 CLOSED                CLOSED               CLOSED

In CLOSED nothing does anything. "Failed" is CLOSED, and the one who began the handshake is told.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """What the transport is doing."""

    SHAKING = enum.auto()
    OPEN = enum.auto()
    ENDED = enum.auto()
    CLOSING = enum.auto()
    CLOSED = enum.auto()


SHAKING, OPEN, ENDED, CLOSING, CLOSED = State
