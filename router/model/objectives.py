"""Objectives: what share of the events must be good, in which window."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from router.model.millis import DAY, MINUTE, SECOND, Millis

ANSWERED_WITHIN: Millis = 500
"""A webhook is answered in time within this."""
URGENT_WITHIN: Millis = 30 * SECOND
"""A change of the most urgent level is delivered in time within this after it was due."""
ANY_WITHIN: Millis = 5 * MINUTE
"""A change of any level is delivered in time within this after it was due."""


class Objective(StrEnum):
    """What is measured."""

    ACCEPTED = "accepted"
    ANSWERED = "answered"
    URGENT_IN_TIME = "urgent_in_time"
    IN_TIME = "in_time"
    DELIVERED = "delivered"


OF_WEBHOOKS = (Objective.ACCEPTED, Objective.ANSWERED)
"""Objectives about webhooks. A webhook may have alerts of several tenants, so these have no tenant."""
OF_CHANGES = (Objective.URGENT_IN_TIME, Objective.IN_TIME, Objective.DELIVERED)
"""Objectives about changes at their destinations."""

DEFAULT_TARGETS: Mapping[Objective, Decimal] = {
    Objective.ACCEPTED: Decimal("99.9"),
    Objective.ANSWERED: Decimal(95),
    Objective.URGENT_IN_TIME: Decimal(95),
    Objective.IN_TIME: Decimal(99),
    Objective.DELIVERED: Decimal(99),
}
"""In percent."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of all objectives, and of the tenants that have their own."""

    window: Millis = 30 * DAY
    percents: Mapping[Objective, Decimal] = field(default_factory=lambda: DEFAULT_TARGETS)
    of_tenants: Mapping[str, Mapping[Objective, Decimal]] = field(default_factory=dict)
    """Only those that differ, by the name of the tenant."""

    def ratio(self, objective: Objective, tenant: str = "") -> float:
        """Return the share of events that must be good, between 0 and 1. :param tenant: empty: all tenants together"""
        return float(self.percent(objective, tenant) / 100)

    def percent(self, objective: Objective, tenant: str = "") -> Decimal:
        """Return the same in percent."""
        return self.of_tenants.get(tenant, {}).get(objective, self.percents[objective])

    def ratios(self, tenants: Iterable[str]) -> dict[tuple[str, ...], float]:
        """Return the ratio of each objective, by objective and tenant. An objective without a tenant has the tenant "".

        :param tenants: all tenants; empty: none are configured
        """
        of_webhooks = [(objective, "") for objective in OF_WEBHOOKS]
        of_changes = [(objective, tenant) for objective in OF_CHANGES for tenant in (tuple(tenants) or ("",))]
        return {(str(each), tenant): self.ratio(each, tenant) for each, tenant in (*of_webhooks, *of_changes)}
