"""What every page shows around its own content: the navigation, and what is wrong now."""

from dataclasses import dataclass

from router.store import StoreUnavailable
from router.web.access.exposure import OPEN_TROUBLE, is_open_to_all
from router.web.app_context import AppContext


@dataclass(frozen=True, slots=True)
class Entry:
    """A link of the navigation."""

    name: str
    title: str
    path: str


NAVIGATION = (
    Entry("now", "Now", "/"),
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


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong now. The most urgent is first, and stands in the title of every page."""

    words: tuple[tuple[str, str], ...] = ()
    """Each with the address of the page that says more."""


async def find_trouble(context: AppContext) -> Trouble:
    """Return what is wrong now. It reads only counters and the state in memory."""
    found = []
    if is_open_to_all(context.config().access, context.access.options):
        found.append((OPEN_TROUBLE, "/configuration"))
    if context.store.trouble:
        found.append((f"The database can't be written: {context.store.trouble}", "/ledger"))
    rules = context.rules_status()
    if rules.get("error"):
        found.append(("routes.yaml can't be used; the last good one stays in force", "/configuration"))
    broken = [each["destination"] for each in context.lanes() if each.get("broken_since")]
    if broken:
        found.append((f"{len(broken)} broken: {_some(broken)}", "/"))
    paused = [each["destination"] for each in context.lanes() if each.get("operator_pause_since")]
    if paused:
        found.append((f"{len(paused)} paused by an operator: {_some(paused)}", "/"))
    try:
        lanes = await context.store.pages.lanes(context.clock.now())
    except StoreUnavailable as error:
        return Trouble((*found, (f"The database can't be read: {error}", "/ledger")))
    dead = sum(each["dead"] for each in lanes.values())
    if dead:
        found.append((f"{dead} dead letter{'s' if dead > 1 else ''}", "/dead-letters"))
    return Trouble(tuple(found))


def _some(destinations: list[str]) -> str:
    return ", ".join(destinations[:3]) + (" …" if len(destinations) > 3 else "")
