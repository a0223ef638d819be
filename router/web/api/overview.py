"""The state of the whole router: what is wrong now, and the numbers that everybody asks for first."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, Field

from router.model import MINUTE, Millis
from router.package import package_version
from router.render.words import clip, counted, duration, line
from router.store import StoreUnavailable
from router.store.stored_trouble import NO_TROUBLE, StoredTrouble
from router.web.access.exposure import OPEN_TROUBLE, is_open_to_all
from router.web.api.cursors import Query
from router.web.api.endpoint import Endpoint
from router.web.app_context import AppContext

_MAX_NAMES = 3
"""The destinations that a line names. The others are counted."""
_MAX_REASON_CHARS = 120
_MIN_FAILING: Millis = MINUTE
"""A destination that fails for a shorter time is no trouble yet: most failures end with the next attempt."""
Line = tuple[str, str]
"""What is wrong, and the address of the page that says more."""


@dataclass(frozen=True, slots=True)
class CurrentTrouble:
    """What is wrong now. The most urgent is first, and stands in the title of every page."""

    words: tuple[Line, ...] = ()


class TroubleLine(BaseModel):
    """Something that is wrong."""

    words: str
    page: str = Field(description="The address of the page that says more.")


class Overview(BaseModel):
    """The state of the whole router."""

    version: str
    now: int
    timezone: str = Field(description="The timezone of the rules.")
    preview: bool = Field(description="Nothing is sent.")
    stopping: bool
    trouble: list[TroubleLine] = Field(description="What is wrong, the most urgent first.")
    firing: int = Field(description="How many alerts fire.")
    dead_letters: int
    destinations: int


async def read_overview(context: AppContext, _query: Query) -> Overview:
    found = await find_trouble(context)
    stored = await context.store.pages.troubles()
    return Overview(
        version=package_version(), now=context.clock.now(), timezone=context.config().timezone, preview=context.preview,
        stopping=context.stopping(), trouble=[TroubleLine(words=words, page=page) for words, page in found.words],
        firing=stored.firing, dead_letters=stored.dead_letters, destinations=len(context.lanes()),
    )  # fmt: skip


def destination_address(key: str) -> str:
    """Return the address of the page of a destination. A key may have any characters, also slashes."""
    return f"/destinations/{quote(key, safe='')}"


async def find_trouble(context: AppContext) -> CurrentTrouble:
    """Return what is wrong now, the most urgent first. It reads the state in memory, and some counters of the store."""
    found: list[Line] = []
    if is_open_to_all(context.config().access, context.access.options):
        found.append((OPEN_TROUBLE, "/configuration"))
    if context.store.trouble:
        words = "The database can't be written: webhooks are refused, and nothing is sent"
        found.append((f"{words}: {_short(context.store.trouble)}", "/configuration"))
    stored = NO_TROUBLE
    try:
        stored = await context.store.pages.troubles()
    except StoreUnavailable as error:
        found.append((f"The database can't be read: {_short(str(error))}", "/configuration"))
    lanes = context.lanes()
    found += _of_destinations(lanes, context.clock.now())
    found += _of_senders(context)
    found += _of_alerts(context, stored)
    found += _of_rules(context.rules_status())
    if (replicas := context.last_replicas()) is not None:
        found += ((words, "/replicas") for words in replicas.troubles())
    found += _of_backups(context)
    found += _less_urgent(context, lanes, stored)
    found += _of_new_database(context, stored)
    return CurrentTrouble(tuple(found))


def _of_destinations(lanes: list[dict[str, Any]], now: Millis) -> Iterator[Line]:
    if any(lane["is_here"] and not lane["alive"] for lane in lanes):
        yield "Nothing is sent: deliveries have ended. Restart the router; the log says why", "/destinations"
    active = [lane for lane in lanes if not lane.get("paused_by")]
    broken = [lane for lane in active if lane.get("broken_since") or lane.get("needs_repair")]
    failing = [
        lane
        for lane in active
        if lane not in broken
        and (since := lane.get("failing_since")) is not None
        and now - since >= _MIN_FAILING
        and not lane["is_rate_limited"]
    ]
    for state, several in (("broken", broken), ("failing", failing)):
        if len(several) == 1:
            (lane,) = several
            since = lane.get("failing_since") or lane.get("broken_since") or now
            reason = _short(lane.get("failing_reason") or "")
            words = f"{lane['destination']} has been {state} for {duration(now - since)}: {reason}"
            yield words, destination_address(lane["destination"])
        elif several:
            names = counted([lane["destination"] for lane in several], _MAX_NAMES)
            yield f"{len(several)} destinations are {state}: {names}", f"/destinations?state={state}"


def _of_senders(context: AppContext) -> Iterator[Line]:
    """Yield what is silent, and why the monitor outside is not pinged."""
    silent = context.silent()
    if len(silent) == 1:
        (state,) = silent
        since = state.heard.counts_from if state.heard.seen_at is None else state.heard.seen_at
        lasting = duration(context.clock.now() - since)
        yield f"{_upper(state.watched.words)} has been silent for {lasting}", "/heartbeats"
    elif silent:
        names = counted([each.watched.words for each in silent], _MAX_NAMES)
        yield f"{len(silent)} heartbeats and sources are silent: {names}", "/heartbeats"
    deadman = context.deadman()
    if deadman.withheld:
        yield f"The monitor outside is not pinged: {_short(deadman.withheld)}", "/heartbeats"
    elif deadman.failure:
        yield f"The ping of the monitor outside fails: {_short(deadman.failure)}", "/heartbeats"


def _of_alerts(context: AppContext, stored: StoredTrouble) -> Iterator[Line]:
    if dead := stored.dead_letters:
        yield (
            f"{dead:,} dead letter{_s(dead)}: retry or discard {'it' if dead == 1 else 'them'}",
            "/dead-letters",
        )
    if stored.imbalance:
        yield (
            f"The ledger does not balance, it is off by {abs(stored.imbalance):,}: please report this",
            "/ledger",
        )
    if (checked := context.integrity()) is not None:
        faults = checked.contradicted.count + checked.empty.count + checked.miscounted.count
        if faults:
            yield f"The integrity check found {faults:,} fault{_s(faults)}: please report this", "/ledger"


def _of_rules(rules: dict[str, Any]) -> Iterator[Line]:
    if (in_force := rules.get("in_force")) is not None and not in_force["agrees"]:
        replica = in_force["replica"] or "another replica"
        words = "Other rules are in force than this replica's, so it keeps webhooks and decides nothing"
        yield f"{words}: {replica} has put them in force", "/configuration"
    if rules.get("error"):
        yield "routes.yaml can't be used; the last good one stays in force", "/configuration"
    broken = [each["name"] for each in rules.get("fragments", ()) if each["problems"]]
    if broken:
        several = len(broken) > 1
        what = f"{len(broken)} included files are" if several else "An included file is"
        yield f"{what} broken: {counted(broken, _MAX_NAMES)}", "/configuration"


def _of_backups(context: AppContext) -> Iterator[Line]:
    backups = context.backups()
    if backups is not None and backups["error"] is not None:
        last = backups["last_success"]
        ago = (
            "there is none yet"
            if last is None
            else f"the last one is {duration(context.clock.now() - last)} old"
        )
        yield f"The backup failed, {ago}: {_short(backups['error'])}", "/configuration"


def _of_new_database(context: AppContext, stored: StoredTrouble) -> Iterator[Line]:
    if context.store.is_new and not stored.webhooks and not context.preview:
        words = "The database is new and empty, which is normal for a first start; otherwise the one before is missing"
        yield f"{words}: {context.store.location}", "/configuration"


def _less_urgent(context: AppContext, lanes: list[dict[str, Any]], stored: StoredTrouble) -> Iterator[Line]:
    paused = [lane["destination"] for lane in lanes if lane.get("paused_by")]
    if paused:
        are = "1 destination is" if len(paused) == 1 else f"{len(paused)} destinations are"
        yield f"{are} paused by operators: {counted(paused, _MAX_NAMES)}", "/destinations?state=paused"
    if (bodies := stored.quarantined).count:
        are = "body is" if bodies.count == 1 else "bodies are"
        yield f"{bodies.count:,}{'' if bodies.is_exact else '+'} {are} in quarantine", "/quarantine"
    if undecided := context.undecided():
        yield f"{undecided:,} alert{_s(undecided)} of kept webhooks wait to be decided", "/"


def _upper(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _short(text: str) -> str:
    return clip(line(text), _MAX_REASON_CHARS)


READ_OVERVIEW = Endpoint(
    "GET", "/api/v1/overview", read_overview, Query, Overview,
    "What is wrong now, and the numbers that everybody asks for first.",
)  # fmt: skip
ENDPOINTS = (READ_OVERVIEW,)
