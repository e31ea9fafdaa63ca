"""The settings of Help Scout's current platform."""

# ruff: noqa: RUF009  (`value` is dataclasses.field with a rule)

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from appliance.config import values
from appliance.config.reader import value
from appliance.config.secret_source import SecretSource, parse_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """[app.page]: GET and HEAD of the app's path are the page of Help Scout's current platform.

    POSTs with X-HelpScout-Event are webhooks. Without `secrets` or `webhook_secrets` they are the app's; without
    `networks` or `inboxes` the page is served to any.
    """

    secrets: tuple[SecretSource, ...] = value(
        values.list_of(parse_secret, 0, 2, "two are for the time in which one replaces the other"), []
    )
    webhook_secrets: tuple[SecretSource, ...] = value(
        values.list_of(parse_secret, 0, 2, "two are for the time in which one replaces the other"), []
    )
    own_parameters: tuple[str, ...] = value(values.list_of(values.parse_parameter), [])
    networks: tuple[IPv4Network | IPv6Network, ...] = value(values.list_of(values.parse_network), [])
    inboxes: tuple[int, ...] = value(values.list_of(values.integer(1, 10**18 - 1)), [])


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpScout:
    """[helpscout]: how the id of a customer, which is all that a page is told, leads to the customer."""

    column: str = value(values.or_empty(values.parse_text), "")
    learn: bool = value(values.parse_bool, True)
    api_id: SecretSource | None = value(values.optional(parse_secret), "")
    api_secret: SecretSource | None = value(values.optional(parse_secret), "")
    fill: bool = value(values.parse_bool, False)
    keep: float = value(values.duration_of_at_least("30d"), "400d")
