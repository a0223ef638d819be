"""Destinations and their limits; what the rules decide for an alert at a destination; the fates of a change there."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from router.model.millis import HOUR, MINUTE, SECOND, Millis


class Call(StrEnum):
    """A kind of request to a provider: limits differ between kinds."""

    POST = "post"
    """Counts towards the rate of the destination, and towards the shared rate of its section of ``channels:``."""
    EDIT = "edit"
    """Counts towards the shared rate of edits, and towards the shared rate."""
    READ = "read"
    """Counts towards the shared rate."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``burst`` calls without a pause, and ``limit`` calls in each ``per`` (ms) in the long run."""

    limit: int
    per: Millis
    burst: int

    @property
    def a_minute(self) -> float:
        """How many calls a minute are possible after a burst."""
        return self.limit * MINUTE / self.per

    def __str__(self) -> str:
        """Return the rate as routes.yaml writes it."""
        unit = {SECOND: "s", MINUTE: "m", HOUR: "h"}[self.per]
        return f"{self.limit}/{unit} burst {self.burst}"


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """The limits on deliveries to one destination."""

    rate: Rate | None = None
    """None: no limit."""
    max_concurrency: int = 1
    """The maximum number of deliveries to the destination at the same time."""
    storm_above: int = 60
    """A storm begins when more conversations than this are due."""
    counts_edits: bool = False
    """The rate is for posts and edits together; otherwise for posts."""


@dataclass(frozen=True, slots=True)
class SharedLimits:
    """The limits that all destinations of one section of ``channels:`` share. None: no limit."""

    rate: Rate | None = None
    edit_rate: Rate | None = None
    max_concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """One destination of notifications.

    ``key`` is stable over restarts, bounded by the configuration, and free of secrets. It names the destination in the
    store, in metrics and on pages (``slack:C0CRITICAL``, ``pagerduty:1f0c…``, ``email:a@b``,
    ``digest:daily``).
    """

    key: str
    channel: str
    """The channel's name in the registry: slack, pagerduty, email, digest."""
    options: Any
    """The channel's own frozen destination options (a pydantic model of the channel's file)."""
    per_alert: bool = False
    """One conversation for each alert instead of each group (PagerDuty's ``per: alert``)."""
    digest: bool = False
    """It is a digest, which is sent at the slots of a schedule, see ``Policy.schedules``."""
    on_failure: str | None = None
    """The receiver that is notified instead, if a delivery to this destination is given up."""
    machine: bool = False
    """A program is notified, not people. It gets every repeat, unless a route says otherwise: some programs treat an
    alert that is not repeated as ended.
    """
    limits: LaneLimits = LaneLimits()
    send_resolved: bool = True
    """Whether a message is sent when alerts end; a message about other alerts shows ends in either case."""

    @property
    def sends_empty_digests(self) -> bool:
        """Whether it is a digest that is sent without alerts as well."""
        return self.digest and bool(self.options.empty != "skip")


class DecisionKind(StrEnum):
    """What the rules decide for one alert and one destination."""

    SEND = "send"
    HOLD = "hold"
    DIGEST = "digest"
    INHIBITED = "inhibited"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is decided for one alert and one destination, when it is sent, and by which rule."""

    destination: Destination
    kind: DecisionKind
    at: Millis | None
    """SEND: not before; HOLD: the opening; DIGEST: the slot; else None."""
    rule: str
    """The position in routes.yaml that decided, e.g. ``route.routes[1]``."""
    reason: str
    """A short clause for people."""
    inhibitor: str | None = None
    """INHIBITED: the inhibition key that mutes it (see ``decide.inhibition``); None: Alertmanager itself does."""
    repeat: Millis | None = None
    """A repeat is sent if the last delivery is at least this old (ms); 0: always; None: never."""
    failover: bool = False
    """It is sent because another destination failed."""


class Fate(StrEnum):
    """The state of a change at a destination; it has exactly one at any time."""

    PENDING = "pending"
    HELD = "held"
    INHIBITED = "inhibited"
    DIGEST = "digest"
    DELIVERED = "delivered"
    OBSOLETE = "obsolete"
    DROPPED = "dropped"
    DEAD = "dead"
