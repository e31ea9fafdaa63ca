"""How help desks ask and are answered: one module a protocol, and what protocols share."""

from __future__ import annotations

from typing import Final

from appliance.sidebar.protocols.body_signed import BodySigned
from appliance.sidebar.protocols.helpscout_app import HelpScoutApp
from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from appliance.sidebar.protocols.query_signed import QuerySigned

DEFAULT: Final = HelpScoutApp
PROTOCOLS: Final[dict[str, type[BodySigned]]] = {protocol.name: protocol for protocol in (HelpScoutApp,)}
"""Every protocol by the name that `protocol` of an `[[app]]` says."""

PAGES: Final[dict[str, type[QuerySigned]]] = {HelpScoutApp.name: HelpScoutPage}
"""What `[app.page]` adds to an app of a protocol, at the same path."""
