"""The card for somebody who is not in the customer list, but whose company is: it says so above what is shown."""

from __future__ import annotations

from html import escape

from appliance.customers.address import domain_of, readable
from appliance.customers.snapshot import Company
from appliance.outcomes import Outcome


def of_company(company: Company, outcome: Outcome, html: str) -> tuple[Outcome, str]:
    """Return the outcome and the card of a company, given those of its record alone."""
    domain = domain_of(readable(f"x@{company.domain}"))
    if company.members == 1:
        who = f"One customer has the company domain {domain}"
    else:
        who = f"{company.members:,} customers have the company domain {domain}; only what they all share is shown"
    note = f"This is the company, not the person: nobody in the customer list has this address. {who}."
    return (
        Outcome.COMPANY if outcome is Outcome.FOUND else outcome,
        f'<p class="orange">{escape(note)}</p>{html}',
    )
