"""The words of the path as frozen data: webhook, alert, destination, decision, conversation, outcome.

One unit of time everywhere, in memory and in the store: :data:`Millis`, whole milliseconds since the
epoch (UTC). Durations are milliseconds too.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Millis = int
SECOND: Millis = 1_000
MINUTE: Millis = 60 * SECOND
HOUR: Millis = 60 * MINUTE
DAY: Millis = 24 * HOUR

Labels = Mapping[str, str]

# Of the alerts that were told as ended, so many stand in a message to people; the others are counted.
_MAX_ENDED_LISTED = 50

OWN_SOURCE = "alert-router"
"""The source of the alerts that the router raises about itself."""


class Status(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


class Change(StrEnum):
    """What an accepted alert meant against what was known of it before."""

    FIRED = "fired"
    RESOLVED = "resolved"
    REPEATED = "repeated"


class DecisionKind(StrEnum):
    """What the rules say of one alert and one destination."""

    SEND = "send"
    HOLD = "hold"
    DIGEST = "digest"
    INHIBITED = "inhibited"
    DROP = "drop"


class Fate(StrEnum):
    """Where a change x destination stands; exactly one at any time."""

    PENDING = "pending"
    HELD = "held"
    INHIBITED = "inhibited"
    DIGEST = "digest"
    DELIVERED = "delivered"
    OBSOLETE = "obsolete"
    DROPPED = "dropped"
    DEAD = "dead"


def identity_of(labels: Labels) -> str:
    """What tells alerts of one source apart: a hash of the label set, 32 hex digits.

    A label with an empty value counts as absent, as in Prometheus. The fingerprint that a sender gives is not used:
    senders other than Alertmanager give one fingerprint to several label sets.
    """
    texts: list[str] = []
    for name in sorted(labels):
        if value := labels[name]:
            texts += (name, value)
    # No byte of UTF-8 is 0xff.
    encoded = b"\xff".join([text.encode(errors="surrogatepass") for text in texts])
    return hashlib.sha256(encoded).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as Alertmanager told it. ``starts_at``/``ends_at``: None when absent or Go's zero time."""

    fingerprint: str
    """As the sender gave it, for display and links only; see :attr:`identity`."""
    labels: Labels
    annotations: Labels
    status: Status
    starts_at: Millis | None = None
    ends_at: Millis | None = None
    generator_url: str = ""
    links: Labels = field(default_factory=dict)
    """Extra addresses a sender gave beside the annotations (Grafana): dashboard, panel, silence, image."""
    note: str = ""
    """Why it counts as ended though nobody resolved it."""
    about: frozenset[str] | None = None
    """Of an alert that the router raises about itself: the keys of the destinations that can't be told, and so are
    not told of it. None: a sender's alert, whatever its labels say."""
    fires_until: Millis | None = None
    """Its sender gave no status, only this end, which is to come: it ends then if nothing else is heard of it."""
    _identity: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def identity(self) -> str:
        """See :func:`identity_of`. An alert without labels is known by its fingerprint. Computed once."""
        if self._identity is None:
            object.__setattr__(self, "_identity", identity_of(self.labels or {"": self.fingerprint}))
        return self._identity or ""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One accepted POST: an alert group with its alerts."""

    receiver: str
    group_key: str
    group_labels: Labels
    external_url: str
    truncated: int
    """How many alerts of the group Alertmanager left out (``max_alerts``)."""
    alerts: tuple[Alert, ...]
    oddities: tuple[str, ...] = ()
    """What of the body could not be used, in words; the body then is kept in quarantine as well."""
    sender: str = ""
    """The address that posted it. The peers of an HA pair may share one external URL."""


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """Where a source's alerts can be asked for."""

    urls: tuple[str, ...]
    """Of every peer of a cluster."""
    every: Millis = MINUTE
    gone_after: Millis = 5 * MINUTE
    """How long it has to lack an alert before that counts as gone."""
    bearer_token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Source:
    """Who may post. Without a token and a password: loopback only."""

    name: str
    bearer_token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    alertmanager: Alertmanager | None = None
    """None: nobody is asked."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is finished is kept."""

    history: Millis = 30 * DAY
    webhooks: Millis = 7 * DAY
    """The bodies of those that were accepted."""
    messages: Millis = 7 * DAY
    """What deliveries sent."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The files that the rules were read from."""

    sha256: str = ""
    """Of all that is in force, in hex; empty: they were read from no file."""
    positions: Mapping[str, str] = field(default_factory=dict)
    """Where each rule stands, ``file:line``, by its name in decisions."""

    @property
    def id(self) -> int | None:
        """What the store calls it, made of the hash, so that no table has to be asked for it."""
        return int(self.sha256[:12], 16) if self.sha256 else None


class Call(StrEnum):
    """A kind of request to a provider, where its limits tell kinds apart."""

    POST = "post"
    """Counts in the rate of the destination and in that of its section."""
    EDIT = "edit"
    """Counts in the section's rate of edits, and in that of the section."""
    READ = "read"
    """Counts in the rate of the section."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``burst`` calls at once, and ``limit`` calls per ``per`` in the long run."""

    limit: int
    per: Millis
    burst: int

    @property
    def a_minute(self) -> float:
        """Calls in a minute, after a burst."""
        return self.limit * MINUTE / self.per

    def __str__(self) -> str:
        """As routes.yaml gives it."""
        unit = {SECOND: "s", MINUTE: "m", HOUR: "h"}[self.per]
        return f"{self.limit}/{unit} burst {self.burst}"


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """What one destination is sent at most."""

    rate: Rate | None = None
    """None: no limit."""
    max_concurrency: int = 1
    """Deliveries under way at the same time."""
    storm_above: int = 60
    """A storm begins when more conversations than this are due."""


@dataclass(frozen=True, slots=True)
class SharedLimits:
    """What all destinations of one section of ``channels:`` are sent at most, together. None: no limit."""

    rate: Rate | None = None
    edit_rate: Rate | None = None
    max_concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """One place to tell.

    ``key`` is stable over restarts, bounded by the configuration, free of secrets: it names the place in
    the store, in metrics and on pages (``slack:C0CRITICAL``, ``pagerduty:1f0c…``, ``email:a@b``,
    ``digest:daily``).
    """

    key: str
    channel: str
    """The channel's name in the registry: slack, pagerduty, email, digest."""
    options: Any
    """The channel's own frozen destination options (a pydantic model of the channel's file)."""
    per_alert: bool = False
    """A conversation an alert instead of one a group (PagerDuty's ``per: alert``)."""
    digest: bool = False
    """Told by slots of a schedule, not by alerts; ``Policy.schedules`` has its schedule."""
    on_failure: str | None = None
    """The receiver that is told instead of what is given up here."""
    machine: bool = False
    """A program is told there, nobody reads. It is told every repeat, unless a route says otherwise: it may count
    what it hears no more of as ended."""
    limits: LaneLimits = LaneLimits()
    send_resolved: bool = True
    """Whether a message is sent when alerts end; a message about other alerts shows ends in either case."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one destination is to be told of one alert, when, and by which rule."""

    destination: Destination
    kind: DecisionKind
    at: Millis | None
    """SEND: not before; HOLD: the opening; DIGEST: the slot; else None."""
    rule: str
    """Where in routes.yaml this was decided, e.g. ``route.routes[1]``."""
    reason: str
    """One clause for people."""
    inhibitor: str | None = None
    """INHIBITED: the inhibition key that mutes it (see ``decide.inhibition``); None: Alertmanager itself does."""
    repeat: Millis | None = None
    """How old the last telling is when a repeat is told again, 0: any age; None: no repeat is."""
    failover: bool = False
    """It goes out instead of what a destination that failed could not say."""


@dataclass(frozen=True, slots=True)
class ShownAlert:
    """One alert of a conversation, as a message shows it."""

    alert: Alert
    level: str
    news: bool
    """This delivery is the first to tell its present status."""
    held_since: Millis | None = None
    """It was held back from then until now (business hours, or an inhibitor)."""
    again: bool = False
    """News that was told before: a repeat (see ``Route.repeat``)."""


@dataclass(frozen=True, slots=True)
class DigestLine:
    """One alert of a digest."""

    alert: Alert
    level: str
    fired: int
    """How often it fired within the digest's period."""
    note: str = ""
    """Held: until when and where; obsolete: why nobody was told; ended: why it counts as such without a resolve."""


@dataclass(frozen=True, slots=True)
class DigestView:
    """What a digest reports of its period ``[since, until)``; an alert stands in exactly one list."""

    since: Millis
    until: Millis
    firing: tuple[DigestLine, ...] = ()
    ended: tuple[DigestLine, ...] = ()
    flapping: tuple[DigestLine, ...] = ()
    held: tuple[DigestLine, ...] = ()
    obsolete: tuple[DigestLine, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.size

    @property
    def size(self) -> int:
        """How many alerts stand in it."""
        return sum(map(len, (self.firing, self.ended, self.flapping, self.held, self.obsolete)))


@dataclass(frozen=True, slots=True)
class StormLine:
    """One group of a storm."""

    labels: Labels
    level: str
    """Of its most urgent alert."""
    firing: int
    external_url: str
    """The Alertmanager that sent it."""
    names: tuple[str, ...] = ()
    """Of its alerts; none where the group's labels have to do."""


@dataclass(frozen=True, slots=True)
class StormNews:
    """The groups that one message of a storm tells of. The message names each of them."""

    firing: tuple[StormLine, ...] = ()
    """With alerts that fire newly."""
    eased: tuple[StormLine, ...] = ()
    """With alerts that ended, while others fire."""
    resolved: tuple[StormLine, ...] = ()


@dataclass(frozen=True, slots=True)
class StormView:
    """What a destination is notified of in one message, because more is due than it can be sent one by one."""

    groups: int
    """How many alert groups fire of those that the storm's messages named."""
    alerts: int
    lines: tuple[StormLine, ...]
    """The worst of them, the most urgent first."""
    over: bool
    """All that the storm's messages named has ended, and this message tells the last of it."""
    resolved: int = 0
    """How many groups have ended since it began."""
    news: StormNews = StormNews()
    more: bool = False
    """This message had no room for all that is due: the next one follows at once."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What one destination has been told about one alert group, and what it is to be told now.

    A message is made from this alone. ``alerts`` holds every alert of the group that this destination
    knows or is to know; the ones still held or inhibited are not in it.
    """

    destination: str
    token: str
    """32 hex digits, the same for every delivery of this conversation: what dedup keys are made of. It contains
    the random id of the database, so that two routers that share a destination don't share keys."""
    episode: int
    """Counts the conversations of the subject: a group that fires anew after its end starts another."""
    version: int
    """The state this delivery brings the destination up to."""
    now: Millis
    receiver: str = ""
    group_labels: Labels = field(default_factory=dict)
    external_url: str = ""
    truncated: int = 0
    left_out: int = 0
    """How many alerts that ended, and were told as ended, are not among ``alerts``: there are too many."""
    alerts: tuple[ShownAlert, ...] = ()
    remote: Mapping[str, Any] = field(default_factory=dict)
    """The provider's side as the channel last reported it; empty before the first delivery."""
    attempt: int = 1
    digest: DigestView | None = None
    storm: StormView | None = None
    revision: str = ""
    """Names the state that this delivery tells, for providers that drop what they got before: the same for each
    attempt at it, and never used for another state, not even after a backup was restored."""

    @property
    def firing(self) -> tuple[ShownAlert, ...]:
        return tuple(told for told in self.alerts if told.alert.status is Status.FIRING)

    @property
    def resolved(self) -> tuple[ShownAlert, ...]:
        return tuple(told for told in self.alerts if told.alert.status is Status.RESOLVED)

    @property
    def ended(self) -> int:
        """How many alerts have ended, those that are left out included."""
        return len(self.resolved) + self.left_out

    @property
    def listed(self) -> tuple[ShownAlert, ...]:
        """The alerts that people are shown: all that fire, all news, and of what was told as ended the newest."""
        old = [told for told in self.resolved if not told.news]
        unlisted = set(map(id, old[:-_MAX_ENDED_LISTED]))
        return tuple(told for told in self.alerts if id(told) not in unlisted)

    @property
    def over(self) -> bool:
        """Nothing of it fires any more, as far as the router can know: Alertmanager hid no alert."""
        return not self.firing and self.truncated == 0


@dataclass(frozen=True, slots=True)
class Message:
    """A rendered message: what the provider is sent, as JSON-able data in the channel's own shape."""

    channel: str
    body: Mapping[str, Any]
    fallback: bool = False
    """The template failed and this is the plain message instead."""
    calls: tuple[Call, ...] = (Call.POST,)
    """The requests that it takes, in their order, if nothing goes wrong. A lane pays for each by the rates that it
    counts in."""
    paid: int | None = None
    """How many of them are paid for: the channel makes no more of them in this attempt. None: all."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One recipient of a destination that several people read: nobody could reach this one, the others were told."""

    recipient: str
    reason: str
    words: str = field(default="", compare=False)

    @property
    def shown(self) -> str:
        return _shown(self.reason, self.words)


class _Failure:
    """What failed outcomes share: a clean label from a table, for metrics, and what the provider said, for people."""

    __slots__ = ()
    reason: str
    words: str

    @property
    def shown(self) -> str:
        return _shown(self.reason, self.words)


def _shown(reason: str, words: str) -> str:
    return f"{reason}: {words}" if words else reason


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination is up to date. ``remote`` replaces the conversation's remote state."""

    remote: Mapping[str, Any] = field(default_factory=dict)
    refused: tuple[Refusal, ...] = ()
    """Recipients that were given up; the others were told."""
    rest: Millis = 0
    """How long the provider wants nothing more there."""
    reached: bool = True
    """This attempt got something through. Not if all who were still to be told were refused."""
    unpaid: tuple[Call, ...] = field(default=(), compare=False)
    """Calls that were made beside those of ``Message.calls``, e.g. a second one after a refusal. They count too."""


@dataclass(frozen=True, slots=True)
class Retry(_Failure):
    """Try again. ``after``: the provider's own wish (Retry-After), in milliseconds."""

    reason: str
    after: Millis | None = None
    ambiguous: bool = False
    """It may have arrived all the same (a timeout after sending, a lost answer)."""
    pause: bool = False
    """The whole destination must wait (a rate limit), not just this conversation."""
    everywhere: bool = False
    """And so must all destinations of the channel's section."""
    remote: Mapping[str, Any] | None = None
    """What did succeed before the failure, e.g. the ts of a posted message; None: unchanged."""
    further: bool = False
    """More of it stands there than before: this does not count as a failed attempt."""
    unfinished: bool = False
    """Nothing failed: the calls that were paid for are made, and others follow. In between, the lane sends what is more
    urgent."""
    refused: tuple[Refusal, ...] = ()
    """Recipients that were given up."""
    late: tuple[Refusal, ...] = ()
    """Recipients that are asked again; all others were told or given up."""
    reached: bool = False
    """This attempt got something through all the same."""
    words: str = field(default="", compare=False)
    """What the provider said, without secrets, bounded; two outcomes that differ in it mean the same."""
    cause: str = field(default="", compare=False)
    """What is at fault where that is not this destination alone, e.g. the smarthost: all that fails for the same
    cause is reported as one."""
    unpaid: tuple[Call, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Broken(_Failure):
    """Nothing can reach the destination until somebody mends it: a channel that is gone, a token revoked. What it
    is to be told waits.
    """

    reason: str
    remote: Mapping[str, Any] | None = None
    """What did succeed before; None: unchanged."""
    ambiguous: bool = False
    """What did succeed told the news already."""
    words: str = field(default="", compare=False)
    cause: str = field(default="", compare=False)
    by_content: bool = field(default=False, compare=False)
    """The message may be at fault instead: it was seen when it was refused, as by a filter of spam."""
    unpaid: tuple[Call, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Rejected(_Failure):
    """Final: trying the same again can't help."""

    reason: str
    ambiguous: bool = False
    """It may have arrived all the same: it was given up after such an attempt."""
    words: str = field(default="", compare=False)
    unpaid: tuple[Call, ...] = field(default=(), compare=False)


Outcome = Delivered | Retry | Broken | Rejected

LATE = "late"
"""In a conversation's remote state: the recipients that have yet to be told what the others know (``to``), and what
that is (``state``): a channel's own word, or one of the two below, which go with a dead letter that is tried again."""
KNOWN_FIRING, KNOWN_OVER = "known firing", "known over"
"""Everybody else knows what fires, or that all has ended: what is news to them as well goes to everybody."""
