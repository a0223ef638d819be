"""The navigation of the pages."""

from dataclasses import dataclass


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


_PREVIEW_NAVIGATION = (
    Entry("messages", "Messages", "/"),
    Entry("now", "Now", "/now"),
    *(each for each in NAVIGATION if each.name != "now"),
)


def navigation_entries(*, preview: bool) -> tuple[Entry, ...]:
    """Return the links of the navigation. A preview begins with the messages, and *Now* has another address there."""
    return _PREVIEW_NAVIGATION if preview else NAVIGATION
