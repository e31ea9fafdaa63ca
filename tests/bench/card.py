"""How long a card takes: 10 columns and 5 related rows, by the built-in card and by a template with helpers.

python -m tests.bench.card
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

from appliance.cards import builtin
from appliance.cards.layout import Layout
from appliance.cards.template import CardTemplate
from appliance.customers.record import Columns, Record, Rows
from appliance.customers.snapshot import Relation

NAMES = ("id", "name", "email", "company", "plan", "status", "since", "balance", "last order", "website")
VALUES = (
    *("1001", "Ada Lovelace", "ada@example.com", "Müller & Söhne <GmbH>", "Pro", "active", "2019-05-24", "1234.50"),
    *("#20481", "https://example.com/ada"),
)
ORDER_NAMES = ("customer_id", "number", "date", "total", "status")
ORDER = ("1001", "#20481", "2026-05-01", "59.70", "shipped")
TEMPLATE = """
<h4>{{ link(customer.website, customer.name) }}</h4>
<p>{{ badge(customer.status) }} {{ badge(customer.plan) }}</p>
{{ two_line_list([
    ("ID", customer.id),
    ("E-mail", link(customer.email)),
    ("Company", customer.company),
    ("Since", date(customer.since)),
    ("Balance", money(customer.balance, "€")),
    ("Last order", customer.last_order),
]) }}
{% apply section("Orders", count=customer.orders.total) %}
<ul class="unstyled">
{% for order in customer.orders %}
  <li>{{ order.number }}: {{ money(order.total, "€") }}, {{ date(order.date) }} {{ badge(order.status) }}</li>
{% end %}
</ul>
{% end %}
"""
ROUNDS, EACH = 200, 100


def median(render: Callable[[], object]) -> float:
    """Return the median of ROUNDS, each the mean of EACH, in microseconds."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(EACH):
            render()
        times.append((time.perf_counter() - began) / EACH * 1e6)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    order_columns = Columns(ORDER_NAMES)
    orders = Rows([Record(order_columns, ORDER)] * 5)
    record = Record(Columns(NAMES), VALUES, {"orders": orders})
    relation = Relation("orders", ORDER_NAMES, on="id", by_address=False, key="customer_id")
    layout = Layout(NAMES, [relation])
    template = CardTemplate(TEMPLATE, "card.html")
    now = datetime(2026, 5, 3, tzinfo=UTC)
    ways: dict[str, Callable[[], str]] = {
        "built-in card": lambda: builtin.found([record], layout),
        "template with helpers": lambda: template.render((record,), ("ada@example.com",), now, lambda: now),
    }
    for name, render in ways.items():
        print(f"{name:22} {median(render):5.1f} us  {len(render().encode()):6,} bytes")


if __name__ == "__main__":
    main()
