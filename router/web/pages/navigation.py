"""The navigation of the pages, and addresses of pages about one thing."""

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Entry:
    """A link of the navigation."""

    name: str
    title: str
    path: str


NAVIGATION = (
    Entry("now", "Now", "/"),
    Entry("destinations", "Destinations", "/destinations"),
    Entry("deliveries", "Deliveries", "/deliveries"),
    Entry("dead-letters", "Dead letters", "/dead-letters"),
    Entry("digests", "Digests", "/digests"),
    Entry("routes", "Routes", "/routes"),
    Entry("quarantine", "Quarantine", "/quarantine"),
    Entry("configuration", "Configuration", "/configuration"),
    Entry("ledger", "Ledger", "/ledger"),
    Entry("actions", "Actions", "/actions"),
    Entry("api", "API", "/api"),
)


def destination_address(key: str) -> str:
    """Return the address of the page of a destination. A key may have any characters, also slashes."""
    return f"/destinations/{quote(key, safe='')}"
