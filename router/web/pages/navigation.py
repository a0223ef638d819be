"""The navigation of the pages."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NavigationEntry:
    """A link of the navigation."""

    name: str
    title: str
    path: str


NAVIGATION = (
    NavigationEntry("now", "Now", "/"),
    NavigationEntry("destinations", "Destinations", "/destinations"),
    NavigationEntry("deliveries", "Deliveries", "/deliveries"),
    NavigationEntry("dead-letters", "Dead letters", "/dead-letters"),
    NavigationEntry("digests", "Digests", "/digests"),
    NavigationEntry("heartbeats", "Heartbeats", "/heartbeats"),
    NavigationEntry("routes", "Routes", "/routes"),
    NavigationEntry("quarantine", "Quarantine", "/quarantine"),
    NavigationEntry("configuration", "Configuration", "/configuration"),
    NavigationEntry("ledger", "Ledger", "/ledger"),
    NavigationEntry("slo", "SLO", "/slo"),
    NavigationEntry("replicas", "Replicas", "/replicas"),
    NavigationEntry("actions", "Actions", "/actions"),
    NavigationEntry("api", "API", "/api"),
)


_PREVIEW_NAVIGATION = (
    NavigationEntry("messages", "Messages", "/"),
    NavigationEntry("now", "Now", "/now"),
    *(each for each in NAVIGATION if each.name != "now"),
)


def navigation_entries(*, preview: bool) -> tuple[NavigationEntry, ...]:
    """Return the links of the navigation. A preview begins with the messages, and *Now* has another address there."""
    return _PREVIEW_NAVIGATION if preview else NAVIGATION
