"""The words of the glossary as frozen data: webhook, alert, destination, decision, conversation, outcome.

Times have one unit everywhere, in memory and in the store: :data:`Millis`, whole milliseconds since the epoch (UTC).
Durations are milliseconds, too.
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

# How many alerts whose end was notified a message to people lists; the others are counted.
_MAX_ENDED_LISTED = 50

OWN_SOURCE = "alert-router"
"""The source of the alerts that the router raises about itself."""


class Status(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


class Change(StrEnum):
    """What an accepted alert changed in what was known about it."""

    FIRED = "fired"
    RESOLVED = "resolved"
    REPEATED = "repeated"


class DecisionKind(StrEnum):
    """What the rules decide for one alert and one destination."""

    SEND = "send"
    HOLD = "hold"
    DIGEST = "digest"
    INHIBITED = "inhibited"
    DROP = "drop"


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


def identity_of(labels: Labels) -> str:
    """Return the identity of an alert within its source: a hash of the label set, 32 hex digits.

    A label with an empty value counts as absent, as in Prometheus. The sender's fingerprint is not used: senders other
    than Alertmanager give the same fingerprint to several label sets.
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
    """One alert as a sender reports it. ``starts_at``/``ends_at``: None if absent, or Go's zero time."""

    fingerprint: str
    """The sender's fingerprint, for display and links only; see :attr:`identity`."""
    labels: Labels
    annotations: Labels
    status: Status
    starts_at: Millis | None = None
    ends_at: Millis | None = None
    generator_url: str = ""
    links: Labels = field(default_factory=dict)
    """More URLs of the sender (Grafana): dashboard, panel, silence, image."""
    note: str = ""
    """Why it counts as ended although no sender resolved it."""
    about: frozenset[str] | None = None
    """For a self-alert: the keys of the destinations that cannot be notified, and so do not get it. None: a sender's
    alert, whatever its labels are."""
    fires_until: Millis | None = None
    """The sender gave no status, only this future end: the alert ends then, unless it is reported again before."""
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
    """What could not be used in the body, as text; the body is then also kept in quarantine."""
    sender: str = ""
    """The address that posted it. The peers of an HA pair may share one external URL."""


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """Where the router can ask for the alerts of a source."""

    urls: tuple[str, ...]
    """The URLs of all peers of the cluster."""
    every: Millis = MINUTE
    """How often the peers are asked."""
    gone_after: Millis = 5 * MINUTE
    """How long an alert has to be missing from the answers before it counts as gone."""
    bearer_token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Source:
    """A sender that may post. Without a token and a password: only from a loopback address."""

    name: str
    bearer_token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    alertmanager: Alertmanager | None = None
    """None: no Alertmanager is asked about its alerts."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long finished data is kept."""

    history: Millis = 30 * DAY
    webhooks: Millis = 7 * DAY
    """The bodies of accepted webhooks."""
    messages: Millis = 7 * DAY
    """The messages that deliveries sent."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The files that the rules were read from."""

    sha256: str = ""
    """Hex digest of all files in force; empty: the rules were read from no file."""
    positions: Mapping[str, str] = field(default_factory=dict)
    """The position of each rule (``file:line``), by its name in decisions."""

    @property
    def id(self) -> int | None:
        """The id in the store; None: there is no file. It is made of the hash, so no table has to be read."""
        return int(self.sha256[:12], 16) if self.sha256 else None


class Call(StrEnum):
    """A kind of request to a provider: limits differ between kinds."""

    POST = "post"
    """Counts towards the rate of the destination, and the rate of its section."""
    EDIT = "edit"
    """Counts towards the section's rate of edits, and the rate of the section."""
    READ = "read"
    """Counts towards the rate of the section."""


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
    """The limits of what one destination is sent."""

    rate: Rate | None = None
    """None: no limit."""
    max_concurrency: int = 1
    """The maximum number of deliveries to the destination at the same time."""
    storm_above: int = 60
    """A storm begins when more conversations than this are due."""


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
    """A digest is sent by the slots of a schedule; ``Policy.schedules`` has the schedule."""
    on_failure: str | None = None
    """The receiver that is notified instead of what is given up here."""
    machine: bool = False
    """A program is notified, not people. It gets every repeat, unless a route says otherwise: it may treat an alert that
    is not repeated as ended."""
    limits: LaneLimits = LaneLimits()
    send_resolved: bool = True
    """Whether a message is sent when alerts end; a message about other alerts shows ends in either case."""


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


@dataclass(frozen=True, slots=True)
class ShownAlert:
    """One alert of a conversation, as a message shows it."""

    alert: Alert
    level: str
    news: bool
    """This delivery is the first to show its present status, or repeats it on purpose."""
    held_since: Millis | None = None
    """It was held from this time until now, by business hours or an inhibitor."""
    again: bool = False
    """The news is a repeat (see ``Route.repeat``)."""


@dataclass(frozen=True, slots=True)
class DigestLine:
    """One alert of a digest."""

    alert: Alert
    level: str
    fired: int
    """How often it fired within the digest's period."""
    note: str = ""
    """Held: until when and where; obsolete: why it was not sent; ended: why it counts as ended without a resolve."""


@dataclass(frozen=True, slots=True)
class DigestView:
    """What a digest reports about its period ``[since, until)``; each alert is in exactly one list."""

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
        """How many alerts it lists."""
        return sum(map(len, (self.firing, self.ended, self.flapping, self.held, self.obsolete)))


@dataclass(frozen=True, slots=True)
class StormLine:
    """One group of a storm."""

    labels: Labels
    level: str
    """The level of its most urgent alert."""
    firing: int
    external_url: str
    """The Alertmanager that sent it."""
    names: tuple[str, ...] = ()
    """The names of its alerts; empty: only the labels of the group are known."""


@dataclass(frozen=True, slots=True)
class StormNews:
    """The groups with news in one message of a storm. The message names each of them."""

    firing: tuple[StormLine, ...] = ()
    """Groups with newly firing alerts."""
    eased: tuple[StormLine, ...] = ()
    """Groups in which some alerts ended, while others fire."""
    resolved: tuple[StormLine, ...] = ()


@dataclass(frozen=True, slots=True)
class StormView:
    """The content of a storm's message: more is due than can be sent in single messages."""

    groups: int
    """How many of the groups that the storm's messages named still fire."""
    alerts: int
    lines: tuple[StormLine, ...]
    """The worst of these groups, the most urgent first."""
    over: bool
    """All groups that the storm's messages named have ended; this is the last message."""
    resolved: int = 0
    """How many groups have ended since the storm began."""
    news: StormNews = StormNews()
    more: bool = False
    """This message has no space for all that is due: the next one follows immediately."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What one destination knows about one alert group, and what it is to be notified of now.

    A message is rendered from this alone. ``alerts`` has every alert of the group that this destination knows or is to
    know; alerts that are held or inhibited are not in it.
    """

    destination: str
    token: str
    """32 hex digits, the same for every delivery of this conversation; dedup keys are made of it. It depends on the
    random id of the database, so two routers that share a destination do not share keys."""
    episode: int
    """Counts the conversations of a subject: a group that fires again after its end starts another one."""
    version: int
    """The version of the state that this delivery sends."""
    now: Millis
    receiver: str = ""
    group_labels: Labels = field(default_factory=dict)
    external_url: str = ""
    truncated: int = 0
    left_out: int = 0
    """How many alerts whose end was notified are not in ``alerts``, because there are too many."""
    alerts: tuple[ShownAlert, ...] = ()
    remote: Mapping[str, Any] = field(default_factory=dict)
    """The remote state that the channel last returned; empty before the first delivery."""
    attempt: int = 1
    digest: DigestView | None = None
    storm: StormView | None = None
    revision: str = ""
    """Names the state that this delivery sends, for providers that drop a state that they have seen. It is the same for
    each attempt at a state, and never used for another state, not even after a backup is restored."""

    @property
    def firing(self) -> tuple[ShownAlert, ...]:
        return tuple(each for each in self.alerts if each.alert.status is Status.FIRING)

    @property
    def resolved(self) -> tuple[ShownAlert, ...]:
        return tuple(each for each in self.alerts if each.alert.status is Status.RESOLVED)

    @property
    def ended(self) -> int:
        """How many alerts have ended, those that are left out included."""
        return len(self.resolved) + self.left_out

    @property
    def listed(self) -> tuple[ShownAlert, ...]:
        """The alerts that people are shown: all firing ones, all news, and the newest whose end was notified before."""
        old = [each for each in self.resolved if not each.news]
        unlisted = set(map(id, old[:-_MAX_ENDED_LISTED]))
        return tuple(each for each in self.alerts if id(each) not in unlisted)

    @property
    def over(self) -> bool:
        """Whether no alert of it fires any more. It is false while Alertmanager leaves out alerts of the group."""
        return not self.firing and self.truncated == 0


@dataclass(frozen=True, slots=True)
class Message:
    """A rendered message: JSON-compatible data in the channel's own shape."""

    channel: str
    body: Mapping[str, Any]
    fallback: bool = False
    """The template failed; this is the fallback message."""
    calls: tuple[Call, ...] = (Call.POST,)
    """The requests that sending takes, in their order, if no error occurs. A lane takes a token for each, from the rates
    that the kind of call counts towards."""
    paid: int | None = None
    """For how many of the calls the lane has taken tokens: the channel makes no more in this attempt. None: all."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A recipient of a destination that could not be notified, while its other recipients were."""

    recipient: str
    reason: str
    words: str = field(default="", compare=False)

    @property
    def shown(self) -> str:
        return _shown(self.reason, self.words)


class _Failure:
    """The common part of failed outcomes: a label from a table, for metrics, and the provider's words, for people."""

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
    """Recipients that were given up; the others were notified."""
    rest: Millis = 0
    """How long the provider accepts nothing more at the destination (ms)."""
    reached: bool = True
    """Whether this attempt delivered something. It did not if all remaining recipients were refused."""
    unpaid: tuple[Call, ...] = field(default=(), compare=False)
    """Calls that were made in addition to ``Message.calls``, e.g. a second one after a refusal. They count as well."""


@dataclass(frozen=True, slots=True)
class Retry(_Failure):
    """Try again. ``after``: the delay that the provider asks for (Retry-After), in milliseconds."""

    reason: str
    after: Millis | None = None
    ambiguous: bool = False
    """The message may have arrived (a timeout after sending, a lost answer)."""
    pause: bool = False
    """The whole destination must wait (a rate limit), not just this conversation."""
    everywhere: bool = False
    """All destinations of the channel's section must wait, too."""
    remote: Mapping[str, Any] | None = None
    """The remote state of what succeeded before the failure, e.g. the ts of a posted message; None: unchanged."""
    further: bool = False
    """A part of the message was sent: this does not count as a failed attempt."""
    unfinished: bool = False
    """Nothing failed: the calls with tokens are made, and others follow. In between, the lane sends what is more
    urgent."""
    refused: tuple[Refusal, ...] = ()
    """Recipients that were given up."""
    late: tuple[Refusal, ...] = ()
    """Recipients that are tried again; all others were notified or given up."""
    reached: bool = False
    """This attempt delivered something before it failed."""
    words: str = field(default="", compare=False)
    """The provider's words, bounded and without secrets. They do not distinguish outcomes."""
    cause: str = field(default="", compare=False)
    """The cause, if it is more than this destination, e.g. the smarthost: failures of one cause are reported as one."""
    unpaid: tuple[Call, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Broken(_Failure):
    """Nothing can reach the destination until someone fixes it: the Slack channel is gone, a token was revoked. What is
    due there waits.
    """

    reason: str
    remote: Mapping[str, Any] | None = None
    """The remote state of what succeeded before; None: unchanged."""
    ambiguous: bool = False
    """The part that succeeded has notified the news already."""
    words: str = field(default="", compare=False)
    cause: str = field(default="", compare=False)
    by_content: bool = field(default=False, compare=False)
    """The message itself may be the cause: the provider read it before it refused, as a spam filter does."""
    unpaid: tuple[Call, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Rejected(_Failure):
    """Final: trying the same again cannot succeed."""

    reason: str
    ambiguous: bool = False
    """The message may have arrived: it was given up after an attempt whose answer was lost."""
    words: str = field(default="", compare=False)
    unpaid: tuple[Call, ...] = field(default=(), compare=False)


Outcome = Delivered | Retry | Broken | Rejected

LATE = "late"
"""A key of a conversation's remote state: the recipients that do not know yet what the others know (``to``), and what
that is (``state``): a channel's own value, or one of the two below, for a dead letter that is tried again."""
KNOWN_FIRING, KNOWN_OVER = "known firing", "known over"
"""What the recipients of a mail know that were not refused: that alerts fire, or that all have ended. A refused recipient
is sent the mail alone, as long as it has no news for the others; otherwise it goes to all recipients."""
