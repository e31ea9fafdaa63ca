"""How help desks ask and are answered: one module a protocol, and what protocols share."""

from __future__ import annotations

from typing import Final

from appliance.sidebar.protocols.body_signed import BodySigned
from appliance.sidebar.protocols.helpscout_app import HelpScoutApp

DEFAULT: Final = HelpScoutApp
PROTOCOLS: Final[dict[str, type[BodySigned]]] = {protocol.name: protocol for protocol in (HelpScoutApp,)}
"""Every protocol by the name that `protocol` of an `[[app]]` says."""
