"""What an authenticated request says of the help desk's id of a customer, beside what it asks."""

from __future__ import annotations

from typing import Final

from appliance.customers.address import normalise
from appliance.customers.ids import MAX_ADDRESSES, Change, Kind, Source, normal_forms
from appliance.sidebar.inquiry import Inquiry, Taught

_MAX_TEXTS: Final = 4 * MAX_ADDRESSES  # read at all, as of an inquiry


def change_by(inquiry: Inquiry, taught: Taught | None, now: float) -> Change | None:
    """Return what a request changes: that an id was asked for, or which addresses it stands for; None: nothing.

    `now` is in seconds since 1970.
    """
    if inquiry.customer is not None:
        return Change(inquiry.customer, Kind.SEEN, (), now, Source.PAGE)
    if taught is None:
        return None
    own = normalise(taught.own_address) if taught.own_address else None
    addresses = tuple(one for one in normal_forms(taught.addresses[:_MAX_TEXTS]) if one != own)
    kind = Kind.REPLACE if taught.is_whole and addresses else Kind.ADD
    return Change(taught.customer, kind, addresses, now, Source.MESSAGE)
